"""The web server of a controller: where it listens, and how signals end it."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import uvicorn

from sandbox.config import Settings
from sandbox.errors import ConfigurationError
from sandbox.sessions.manager import SessionManager

_BACKLOG = 2048


class Server(uvicorn.Server):
    """Tells the manager first when it is to stop, so that open requests get their answers and not their grace.

    SIGINT, SIGTERM and SIGHUP (the terminal is closed) stop it. A second SIGINT: it waits for nothing that runs; a
    third: it closes nothing either.
    """

    def __init__(self, config: uvicorn.Config, manager: SessionManager) -> None:
        super().__init__(config)
        self._manager = manager
        self._impatient = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, by way of the manager. See `uvicorn.Server.shutdown`."""
        self._manager.stop_taking()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: called in the main thread, between two steps of it."""
        if self.should_exit and sig == signal.SIGINT and not self._impatient:
            self._impatient = True
            with contextlib.suppress(RuntimeError):  # the loop has ended: so has what it would be told
                self._loop.call_soon_threadsafe(self._manager.stop_running)
        else:
            super().handle_exit(sig, frame)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal. See `uvicorn.Server.serve`."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGHUP too, unless the process was started to outlive its terminal."""
        before = signal.getsignal(signal.SIGHUP)
        with super().capture_signals():
            if before is not signal.SIG_IGN:
                signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)


def listen(settings: Settings) -> socket.socket:
    """Open the socket that the settings name. Raises `ConfigurationError` when the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            suggested_fix="Stop what uses the port, or set another one (WORKBENCH_PORT).",
        ) from error
