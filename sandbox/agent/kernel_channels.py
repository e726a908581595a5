"""The sockets to one kernel: plain non-blocking ZMQ on the event loop, which costs a tenth of asynchronous wrappers."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import zmq

from sandbox.agent.kernel_wire import Message, decode

log = logging.getLogger(__name__)

_BURST: Final = 64
"""Messages taken before others on the event loop have their turn."""

_QUEUED_MAX: Final = 4
"""Messages that wait in our memory; more wait in the kernel's."""

_MESSAGE_MAX_BYTES: Final = 512 * 1024 * 1024


class Channels:
    """Shell and iopub of the kernel whose sockets are in `folder`; `on_message` is called on the event loop."""

    def __init__(self, folder: Path, on_message: Callable[[Message], None]) -> None:
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context()
        self._shell = self._connect(zmq.DEALER, folder / "s-1")
        self._iopub = self._connect(zmq.SUB, folder / "s-2")
        self._closed = False
        for socket in (self._shell, self._iopub):
            self._loop.add_reader(socket.FD, self._receive, socket)
        self._iopub.setsockopt(zmq.SUBSCRIBE, b"")
        # The descriptor tells of changes only: what came before it was watched must be looked for.
        self._loop.call_soon(self._receive, self._iopub)

    def send(self, frames: list[bytes]) -> None:
        """Send a request on the shell channel. Never blocks."""
        self._shell.send_multipart(frames, zmq.NOBLOCK)
        # Sending takes notice of what has arrived, and the descriptor then stays silent about it.
        if int(self._shell.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._loop.call_soon(self._receive, self._shell)

    def drain(self) -> None:
        """Take what has arrived: the last words of a kernel that has ended."""
        self._receive(self._iopub)

    def close(self) -> None:
        """Close both sockets; may be called again."""
        if self._closed:
            return
        self._closed = True
        for socket in (self._shell, self._iopub):
            self._loop.remove_reader(socket.FD)
            socket.close(linger=0)
        self._context.term()

    def _connect(self, kind: int, path: Path) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.rcvhwm = _QUEUED_MAX
        socket.reconnect_ivl = 10
        socket.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_MAX_BYTES)
        socket.connect(f"ipc://{path}")
        return socket

    def _receive(self, socket: "zmq.Socket[bytes]") -> None:
        for _ in range(_BURST):
            if self._closed:
                return
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if message := decode(frames):
                    self._on_message(message)
            except Exception:  # a border: the descriptor is silent about what is left if this ends here
                log.exception("a message of the kernel could not be taken")
        self._loop.call_soon(self._receive, socket)
