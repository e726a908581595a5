"""The client of the relay: one call at a time per connection, one connection per thread.

The relay is the agent's unix socket, named by WORKBENCH_RELAY. It speaks JSON lines: a request, then any number of
lines of progress, then the answer. A call has no deadline of its own: the other side answers every call, and when
it dies the connection ends.
"""

import contextlib
import json
import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .encode import encoded
from .large import ARGUMENTS_INLINE_BYTES, arguments_file, read_answer
from .outcome import Refused

VARIABLE = "WORKBENCH_RELAY"

RECEIVE_BYTES = 64 * 1024
"""Received at a time: short enough to come from the allocator's own pools, not from the kernel's."""

Answer = tuple[Any, str]
OnProgress = Callable[[int, "int | None"], None]

_LEFT_BEHIND = "the cell that started this thread was interrupted: start new threads (a new executor) to call again"
_NO_RELAY = "the helpers are not available here: {why}"


class Connection(socket.socket):
    """A connection to the relay. One that is dropped is closed: that a thread ends is nothing to warn of."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        # What user code sets as the default of all sockets is not meant for calls, which have no deadline of their own.
        self.settimeout(None)

    def __del__(self) -> None:
        self.close()

    def end(self) -> None:
        """Close it for all, also where a forked child still holds it."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        self.close()


class Relay:
    """Calls by name with JSON arguments. Safe in threads and after a fork.

    `path`: of the socket; None: as WORKBENCH_RELAY says. `execution`: which execution calls, None in a kernel,
    where the relay knows it.
    """

    def __init__(self, path: str | None = None, execution: str | None = None) -> None:
        self._path = path or os.environ.get(VARIABLE)
        self._suffix = b"}\n" if execution is None else b',"execution":%s}\n' % json.dumps(execution).encode()
        self._idle = threading.local()
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._cell = 0
        self._interrupted = ""
        self._cells_interrupted: set[int] = set()
        os.register_at_fork(after_in_child=self._forget)

    def begin_cell(self) -> None:
        """A new cell begins: what was said about an interrupted one no longer holds."""
        self._cell += 1
        self._interrupted = ""

    def call(self, name: str, arguments: dict[str, Any], on_progress: OnProgress | None = None) -> Answer:
        """Call a helper of the gateway: its result, and words when something is wrong.

        Raises:
            Refused: the arguments are no JSON, or the call cannot be made or its answer does not come.
        """
        if self._interrupted:
            return None, self._interrupted
        # What an interrupted cell has left in the queue of its threads must not go on under the next cell.
        began_in = self._idle.__dict__.setdefault("cell", self._cell)
        if began_in in self._cells_interrupted and threading.current_thread() is not threading.main_thread():
            return None, _LEFT_BEHIND
        body = encoded(arguments)
        if len(body) <= ARGUMENTS_INLINE_BYTES:
            return self._exchange(b'{"helper":"%s","arguments":%s%s' % (name.encode(), body, self._suffix), on_progress)
        with arguments_file(body) as path:
            place = json.dumps(path).encode()
            line = b'{"helper":"%s","arguments_path":%s%s' % (name.encode(), place, self._suffix)
            return self._exchange(line, on_progress)

    def _exchange(self, line: bytes, on_progress: OnProgress | None) -> Answer:
        """Send a request and wait for its answer. Meanwhile nobody, no signal handler either, has the connection."""
        cell = self._cell
        connection: Connection = self._idle.__dict__.pop("connection", None) or self._connect()
        try:
            connection = self._send(connection, line)
            reply = self._receive(connection, on_progress)
        except OSError as error:
            connection.end()
            raise Refused(f"the call got no answer: {error}; whether it was done is not known") from error
        except BaseException:
            # Closing is what tells the relay that nobody waits any more.
            connection.end()
            raise
        self._idle.connection = connection
        return self._settle(reply, cell)

    def _send(self, connection: Connection, line: bytes) -> Connection:
        """Send a line; over a new connection when the relay has closed this one: half a line is no call."""
        try:
            connection.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            connection.end()
            connection = self._connect()
            try:
                connection.sendall(line)
            except BaseException:
                connection.end()
                raise
        return connection

    def _connect(self) -> Connection:
        """Open a connection.

        Raises:
            Refused: there is no relay.
        """
        path = self._path or os.environ.get(VARIABLE)
        if not path:
            raise Refused(_NO_RELAY.format(why="WORKBENCH_RELAY is not set; they work in a sandbox only"))
        connection = Connection()
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            why = f"nothing answers at {path} ({error.strerror or error})"
            raise Refused(_NO_RELAY.format(why=why)) from error
        self._open.add(connection)
        return connection

    def _receive(self, connection: Connection, on_progress: OnProgress | None) -> dict[str, Any]:
        """Wait for the answer, telling of progress before it."""
        while True:
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("the connection ended")
            if not data.endswith(b"\n"):
                data = _rest_of_line(connection, data)
            for line in data.splitlines():
                reply: dict[str, Any] = json.loads(line)
                if not isinstance(reply, dict):
                    raise TypeError("the relay said what is no answer")
                if "progress" not in reply:
                    return reply
                if on_progress is not None:
                    on_progress(reply["progress"]["done"], reply["progress"].get("total"))

    def _settle(self, reply: dict[str, Any], cell: int) -> Answer:
        """Take an answer for what it says."""
        error: str = reply.get("error") or ""
        if reply.get("interrupted"):
            self._cells_interrupted.add(cell)
            if cell == self._cell:
                self._interrupted = error or "the execution was interrupted"
        path = reply.get("path")
        return (reply.get("result") if path is None else read_answer(path)), error

    def _forget(self) -> None:
        """In a forked child: the parent's connections are the parent's."""
        for connection in list(self._open):
            connection.close()
        self._open = weakref.WeakSet()
        self._idle = threading.local()


def _rest_of_line(connection: Connection, data: bytes) -> bytes:
    """Receive until a line ends, holding its pieces once."""
    pieces = [data]
    while not data.endswith(b"\n"):
        data = connection.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the connection ended in the middle of an answer")
        pieces.append(data)
    return b"".join(pieces)


relay = Relay(execution=os.environ.get("WORKBENCH_EXECUTION"))
"""The relay of this process."""


def begin_cell(*_: object) -> None:
    """Tell the helpers that a new cell begins."""
    relay.begin_cell()
