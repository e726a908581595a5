"""One child process of the `process` runtime, and the `Link` over its standard input and output."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from sandbox.pipe.link import OnClosed, OnData


class ProcessLink:
    """A `Link` to a child. Closing it leaves the child as it is, as detaching from a container does."""

    def __init__(self, child: "Child") -> None:
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._on_data: OnData | None = None
        self._on_closed: OnClosed | None = None
        self._unclaimed: list[bytes] = []
        self._reason: str | None = None

    def start(self, on_data: OnData, on_closed: OnClosed) -> None:
        """Begin to deliver; see `Link.start`."""
        self._on_data, self._on_closed = on_data, on_closed
        early, self._unclaimed = self._unclaimed, []
        for piece in early:
            on_data(piece)
        if self._reason is not None:
            self._tell_closed(self._reason)

    def write(self, data: bytes) -> None:
        """Queue bytes for the child's standard input."""
        if self._reason is None:
            self._child.write(data)

    async def drain(self) -> None:
        """Wait until the send queue is short again."""
        if self._reason is None:
            await self._child.writable.wait()

    def close(self) -> None:
        """Stop delivering; the child goes on."""
        self.end("closed by the controller")

    def deliver(self, data: bytes) -> None:
        """Take what the child wrote."""
        if self._reason is not None:
            return
        if self._on_data is None:
            self._unclaimed.append(data)
        else:
            self._on_data(data)

    def end(self, reason: str) -> None:
        """Say once that the stream is over."""
        if self._reason is None:
            self._reason = reason
            self._tell_closed(reason)

    def _tell_closed(self, reason: str) -> None:
        if self._on_closed is not None:
            self._loop.call_soon(self._on_closed, reason)
            self._on_closed = None


class Child(asyncio.SubprocessProtocol):
    """A child in a session of its own. What it says while no link is open is gone, as under Docker."""

    def __init__(self, on_stderr: Callable[[bytes], None]) -> None:
        self._on_stderr = on_stderr
        self._link: ProcessLink | None = None
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        folder: Path,
        environment: dict[str, str],
        on_stderr: Callable[[bytes], None],
    ) -> "Child":
        """Start `command` in `folder`.

        Raises:
            OSError: it cannot be started.
        """
        loop = asyncio.get_running_loop()
        _, child = await loop.subprocess_exec(
            lambda: cls(on_stderr), *command, cwd=folder, env=environment, start_new_session=True
        )
        return child

    # --- for the runtime ------------------------------------------------------------------------

    @property
    def exited(self) -> bool:
        """Whether the child has ended."""
        return self._exited.is_set()

    @property
    def how_it_ended(self) -> str:
        """The exit code or the signal, in words."""
        code = self._transport.get_returncode()
        if code is None:
            return "running"
        return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def open(self) -> ProcessLink:
        """Give a new link; the older one is cut."""
        if self._link is not None:
            self._link.end("another stream was opened")
        self._link = ProcessLink(self)
        return self._link

    def write(self, data: bytes) -> None:
        """Queue bytes for its standard input."""
        if not self._input.is_closing():
            self._input.write(data)

    def end_input(self) -> None:
        """End its standard input: an agent takes that as the order to end."""
        self._input.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._transport.get_pid()

    def kill_group(self, number: signal.Signals) -> None:
        """Signal its process group; fine when that is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._transport.get_pid(), number)

    async def wait_exited(self, timeout_s: float) -> bool:
        """Wait for its end; False when that does not come in time."""
        return await _within(self._exited, timeout_s)

    async def wait_drained(self, timeout_s: float) -> bool:
        """Wait until all that it wrote has been taken; False when something still holds its output open."""
        return await _within(self._drained, timeout_s)

    def close(self) -> None:
        """Let go of its pipes."""
        self._transport.close()
        self._end_link()

    # --- asyncio.SubprocessProtocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transports."""
        # Casts, not checks: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._input = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Standard output is the pipe, standard error the log."""
        if fd == 2:
            self._on_stderr(data)
        elif self._link is not None:
            self._link.deliver(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """The end of standard output is the end of the stream."""
        if fd == 1:
            self._end_link()

    def process_exited(self) -> None:
        """The child is dead; what it wrote may still come."""
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """The child is dead and its pipes are empty."""
        self._drained.set()
        self.writable.set()
        self._end_link()

    def pause_writing(self) -> None:
        """Its standard input is full: `drain` waits."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Its standard input has room again."""
        self.writable.set()

    def _end_link(self) -> None:
        self.writable.set()
        if self._link is not None:
            self._link.end(f"the agent ended: {self.how_it_ended}")


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
