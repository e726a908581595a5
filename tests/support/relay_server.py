"""A server that speaks the relay's protocol, as a real unix socket, and answers as a test tells it to."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Request = dict[str, Any]
Respond = Callable[[Request], "Replies"]


@dataclass(frozen=True)
class Replies:
    """The lines that answer a request; raw bytes go out as they are. `then_close`: the connection ends after them."""

    lines: tuple[dict[str, Any] | bytes, ...] = ()
    then_close: bool = False


def result(value: object, error: str = "", **more: object) -> Replies:
    """Answer with a result."""
    return Replies(({"result": value, "error": error, **more},))


@dataclass
class RelayServer:
    """Serves every connection in a thread of its own.

    `requests`: all that came, in order. `connections`: how many were made. `gone`: set when a client has closed one.
    `ended`: how many of them are over, to be acquired.
    """

    path: Path
    respond: Respond
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def names(self) -> list[str]:
        """The helpers that were called."""
        return [request["helper"] for request in self.requests]

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until it ends."""
        self._answer(connection)
        self.ended.release()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(ConnectionError):
            for line in lines:
                request = json.loads(line)
                self.requests.append(request)
                replies = self.respond(request)
                for reply in replies.lines:
                    connection.sendall(reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\n")
                if replies.then_close:
                    return
        self.gone.set()


@contextmanager
def serving(path: Path, respond: Respond) -> Iterator[RelayServer]:
    """Serve at `path` until the end of the block."""
    server = RelayServer(path, respond)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(256)

    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            accepted.append(connection)
            threading.Thread(target=server.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        # Closing alone does not wake a thread that accepts or reads.
        for one in (listener, *accepted):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        listener.close()
        path.unlink(missing_ok=True)
