"""The kernel itself."""

# ipykernel and IPython are only partly annotated.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from ipykernel.ipkernel import IPythonKernel
from jupyter_client.session import DELIM

from .outgoing import error_text
from .shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    import zmq

    from .streams import Streams


BROKEN = 70
"""Exit code of a kernel that cannot answer any more: EX_SOFTWARE."""


class StreamKernel(IPythonKernel):
    """The kernel of a sandbox: sends no text, survives what user code does to its streams."""

    _execute_sleep = 0
    _supports_kernel_subshells = False
    shell_class = Shell
    streams: Streams
    _process_id = os.getpid()
    _unanswered = 0

    def _publish_execute_input(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the agent knows what it sent."""

    async def do_execute(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a cell between a clean beginning and a flushed end."""
        self.streams.begin()
        try:
            reply = await super().do_execute(*args, **kwargs)
            if isinstance(text := reply.get("evalue"), str):
                reply["evalue"] = error_text(text)
            return reply
        finally:
            self.streams.end()
            if os.getpid() != self._process_id:
                # A bare os.fork(): two processes must not answer on one socket.
                os._exit(0)

    async def shell_main(self, subshell_id: str | None, msg: list[zmq.Frame]) -> None:
        """Answer one request. A kernel that cannot do so any more ends, which is told; it is not silent for ever."""
        try:
            await IPythonKernel.shell_main(self, subshell_id, msg)
        except Exception:
            if all(frame.bytes != DELIM for frame in msg):
                raise  # no request, but garbage that user code sent here: it is dropped
            self._end()

    async def execute_request(
        self, stream: zmq.Socket[bytes] | None, ident: list[bytes], parent: dict[str, Any]
    ) -> None:
        """Run a cell and reply. What cannot do so twice in a row never can again: the kernel ends, which is told."""
        try:
            await super().execute_request(stream, ident, parent)
            self._unanswered = 0
        except Exception:
            self._unanswered += 1
            if self._unanswered > 1:
                self._end()
            raise

    @staticmethod
    def _end() -> None:
        try:
            sys.stderr.write("the kernel ends: code took away what it needs to answer\n")
            traceback.print_exc()
        finally:
            os._exit(BROKEN)

    @contextlib.contextmanager
    def _cancel_on_sigint(self, future: asyncio.Future[Any]) -> Iterator[None]:
        """While a cell with top-level await runs: an interrupt ends it, whether it waits or computes.

        ipykernel's own asks the loop to cancel without waking it, so a cell that only waits would wait on.
        """
        loop = asyncio.get_running_loop()

        def interrupt(*_: object) -> None:
            if asyncio.current_task(loop) is future:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(future.cancel)

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
