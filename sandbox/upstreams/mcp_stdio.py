"""An MCP server that is a child process and speaks JSON lines over its standard streams."""

import asyncio
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec
import structlog
from mcp.client.stdio import get_default_environment

from sandbox.config_upstreams import McpServer
from sandbox.errors import UpstreamError, UpstreamInvalid, UpstreamUnavailable
from sandbox.limits import KIB
from sandbox.upstreams.answer_room import FREE_BYTES, Coming
from sandbox.upstreams.credentials import Scrubber
from sandbox.upstreams.mcp_link import (
    Incoming,
    McpLink,
    decode_incoming,
    notification_bytes,
    reply_bytes,
    request_bytes,
    result_of,
)

log = structlog.get_logger(__name__)

LEAVE_S: Final = 1.5
"""Seconds that a server has to end by itself after its standard input closed, and again after SIGTERM."""

LAST_LINES: Final = 5
LINE_CHARS: Final = 300
_READ_BYTES: Final = 256 * KIB
_STDERR_LIMIT: Final = 64 * KIB
_LINE_BYTES: Final = 16 * KIB
_ID: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\b')
_WAIT_WRITTEN_BYTES: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call that waits for its answer."""

    answer: asyncio.Future[Incoming]
    coming: Coming


class StdioLink(McpLink):
    """A running server; each answer of it is one line."""

    def __init__(
        self, what: str, process: Process, scrubber: Scrubber, on_tools_changed: Callable[[], None], max_bytes: int
    ) -> None:
        super().__init__(what, on_tools_changed, max_bytes)
        assert process.stdin is not None  # noqa: S101  (started with pipes)
        self._process = process
        self._stdin = process.stdin
        self._scrubber = scrubber
        self._pending: dict[int, _Pending] = {}
        self._last_words: deque[str] = deque(maxlen=LAST_LINES)
        loop = asyncio.get_running_loop()
        self._stderr_task = loop.create_task(self._read_stderr())
        self._stdout_task = loop.create_task(self._read_stdout())

    async def exchange(self, method: str, params: Mapping[str, Any] | None) -> msgspec.Raw:
        """See `McpLink.exchange`."""
        self._refuse_ended()
        request_id = self._next_id()
        line = request_bytes(request_id, method, params)
        if not self._send(line):
            await self._fail_ending()
        answer: asyncio.Future[Incoming] = asyncio.get_running_loop().create_future()
        with Coming(self.what, self._max_bytes) as coming:
            self._pending[request_id] = _Pending(answer, coming)
            said = await self._answered(request_id, method, answer)
            coming.keep(len(said.result))
        return result_of(said)

    async def _answered(self, request_id: int, method: str, answer: asyncio.Future[Incoming]) -> Incoming:
        try:
            await self._until_read()
            return await answer
        except asyncio.CancelledError:
            if method != "initialize":
                self._send(notification_bytes("notifications/cancelled", {"requestId": request_id}))
            raise
        finally:
            self._pending.pop(request_id, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # it may have failed while the call was cancelled

    async def tell(self, method: str, params: Mapping[str, Any] | None) -> None:
        """See `McpLink.tell`."""
        self._send(notification_bytes(method, params))

    async def aclose(self) -> None:
        """Close its standard input, then end its process group, by force when it must be."""
        self._end("it was closed")
        self._fail_all()
        self._stdin.close()
        try:
            if not await self._gone():
                self._signal(signal.SIGTERM)
                await self._gone()
        finally:
            # Also what the server started: the group has its own, and the server is its leader.
            self._signal(signal.SIGKILL)
            for task in (self._stdout_task, self._stderr_task):
                task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._process.wait()
            self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  (a child's child may hold the pipe)
            await asyncio.gather(self._stdout_task, self._stderr_task, return_exceptions=True)

    async def _gone(self) -> bool:
        # The end of standard output is the end of the server, also where a child of it holds the pipe no longer.
        await asyncio.wait({self._stdout_task}, timeout=LEAVE_S)
        return self._stdout_task.done()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    # --- writing ------------------------------------------------------------------------------------------

    async def _fail_ending(self) -> NoReturn:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):  # why it ends is known in a moment
                await self.ended.wait()
        self._fail_unwritten()

    async def _until_read(self) -> None:
        """Wait while the server does not read what is written."""
        if self._stdin.transport.get_write_buffer_size() > _WAIT_WRITTEN_BYTES:
            with suppress(OSError):
                await self._stdin.drain()

    def _send(self, line: bytes) -> bool:
        if self.ended.is_set() or self._stdin.is_closing():
            return False
        self._stdin.write(line + b"\n")
        return True

    # --- reading ------------------------------------------------------------------------------------------

    async def _read_stdout(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101
        parts: list[bytes] = []
        held, covered, skipping = 0, FREE_BYTES, False
        while chunk := await stream.read(_READ_BYTES):
            first, *more = chunk.split(b"\n")
            if not skipping:
                parts.append(first)
                held += len(first)
            for line in more:
                if not skipping:
                    self._take(b"".join(parts))
                parts, held, covered, skipping = [line], len(line), FREE_BYTES, False
            if held > covered and not skipping:
                covered = await self._covered(b"".join(parts[:2]), held)
                if not covered:
                    parts, held, skipping = [], 0, True
        await self._ended()

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            said = decode_incoming(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            log.debug("an MCP server writes what is no message", server=self.what, bytes=len(line))
            return
        if said.method is None:
            waiting = self._pending.get(said.id) if isinstance(said.id, int) else None
            if waiting is not None and not waiting.answer.done():
                waiting.answer.set_result(said)
        elif said.id is not None:
            if self._stdin.transport.get_write_buffer_size() <= _WAIT_WRITTEN_BYTES:
                # Who asks without reading gets no answer to what is over this.
                self._send(reply_bytes(said))
        else:
            self._told(said)

    async def _covered(self, beginning: bytes, held: int) -> int:
        """Say how long a line may become, of which `held` bytes are here; 0: it is left out, and its call fails.

        Which call that is stands at the beginning, else all fail.
        """
        found = _ID.search(beginning[:KIB])
        request_id = int(found[1]) if found else 0
        waiting = self._pending.get(request_id)
        try:
            if held > self._max_bytes:
                raise self._too_large()
            if waiting is None:
                return self._max_bytes
            # What others wait for comes behind this on the same stream.
            await waiting.coming.cover(held)
        except UpstreamInvalid as error:
            for number in list(self._pending) if waiting is None else [request_id]:
                self._fail(number, error)
            return 0
        return min(waiting.coming.covered, self._max_bytes)

    async def _ended(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):  # its last words and its exit code are still on the way
                await asyncio.shield(self._stderr_task)
                await self._process.wait()
        code = self._process.returncode
        ending = "it closed its standard output" if code is None else _ending(code)
        words = " | ".join(self._last_words)
        self._end(f"{ending}; its last words: {words}" if words else ending)
        self._fail_all()

    def _fail_all(self) -> None:
        for number in list(self._pending):
            self._fail(number, UpstreamUnavailable(f"{self.what} ended during the call: {self._trouble}"))

    def _fail(self, number: int | None, error: UpstreamError) -> None:
        waiting = self._pending.get(number) if number is not None else None
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_exception(error)

    async def _read_stderr(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101
        rest = b""
        while chunk := await stream.read(_STDERR_LIMIT):
            *lines, rest = (rest + chunk).split(b"\n")
            # The beginning, of which less is said: a half of a credential would not be known for one.
            rest = rest[:_LINE_BYTES]
            for line in lines:
                self._heard(line)
        self._heard(rest)

    def _heard(self, line: bytes) -> None:
        words = self._scrubber.text(line.decode("utf-8", "replace")).strip()[:LINE_CHARS]
        if words:
            self._last_words.append(words)
            log.debug("an MCP server says", server=self.what, line=words)


def _ending(code: int) -> str:
    return f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"


async def open_stdio(
    what: str, server: McpServer, scrubber: Scrubber, on_tools_changed: Callable[[], None], *, max_bytes: int
) -> StdioLink:
    """Start a server. It gets of our environment only what a login has, and what is configured.

    Raises:
        UpstreamUnavailable: the program cannot be started.
    """
    env = get_default_environment() | {name: value.get_secret_value() for name, value in server.env.items()}
    start = asyncio.create_subprocess_exec(
        *server.command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env, start_new_session=True, limit=_READ_BYTES
    )
    # A start that is cancelled half way would kill the program alone and wait for all that it started.
    starting = asyncio.ensure_future(start)
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(OSError, ValueError):
            await StdioLink(what, await starting, scrubber, on_tools_changed, max_bytes).aclose()
        raise
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise UpstreamUnavailable(f"{what} cannot be started: {server.command[0]}: {said}", retry=True) from None
    return StdioLink(what, process, scrubber, on_tools_changed, max_bytes)
