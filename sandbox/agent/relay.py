"""The socket that helpers call: from user code to the pipe and back. What comes over it is user code's to choose."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from sandbox.agent.callers import Callers
from sandbox.agent.relay_wire import INTERRUPTED, Reply, Request, RequestLine, failed, reply_line
from sandbox.errors import PipeViolation
from sandbox.limits import HELPER_ARGUMENTS_INLINE_BYTES, HELPER_CALLS_MAX, MIB
from sandbox.pipe.asking import HelperAsking
from sandbox.pipe.frames import HelperCall, HelperEnd, HelperProgress

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 1024
"""Connections of helpers at the same time; another one is closed at once. Each has at most one call."""

HELD_BYTES_MAX: Final = 32 * MIB
"""Bytes of requests whose lines have not ended, for all connections together; one that brings more is closed."""

_BACKLOG: Final = 256


class Relay:
    """Passes helper calls on, at most HELPER_CALLS_MAX at the same time; the others wait in their order.

    `path`: of the socket, at most 107 bytes. `answers`: the folder for answers that are too long for a line.
    `boot`: makes the ids of calls unlike those of another agent. `connections`: how many there may be.
    """

    def __init__(
        self,
        asking: HelperAsking,
        callers: Callers,
        *,
        path: Path,
        answers: Path,
        boot: str,
        connections: int = CONNECTIONS_MAX,
    ) -> None:
        self._asking = asking
        self._callers = callers
        self._path = path
        self._answers = answers
        self._boot = boot
        self._most = connections
        self._numbers = 0
        self._connections: set[Connection] = set()
        self._waiting: dict[Connection, HelperCall] = {}
        self._of_execution: dict[str, set[Connection]] = {}
        self._server: asyncio.Server | None = None
        self.held = 0
        asking.on_freed = self._freed
        asking.on_unread = _remove
        callers.on_stop = self.stop

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def calls(self) -> int:
        """How many connections wait for an answer."""
        return sum(connection.call is not None for connection in self._connections)

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), str(self._path), backlog=_BACKLOG)

    def close(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def stop(self, execution_id: str) -> None:
        """Answer all calls of an execution that is being ended, and let nobody go on with them."""
        for connection in self._of_execution.pop(execution_id, ()):
            self._withdraw(connection)
            connection.reply(INTERRUPTED)

    # --- what connections say ---------------------------------------------------------------------------

    def opened(self, connection: "Connection") -> bool:
        """Take a new connection, unless there are too many."""
        if len(self._connections) >= self._most:
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: "Connection") -> None:
        """It is gone, and its call with it."""
        self._connections.discard(connection)
        if connection.call is not None:
            self._forget(connection, connection.call)
            self._withdraw(connection)

    def begin(self, connection: "Connection", request: Request) -> None:
        """Begin the call of a connection that has none."""
        caller = self._callers.caller(request.execution)
        if caller.stopped:
            connection.reply(INTERRUPTED)
            return
        if len(request.arguments) > HELPER_ARGUMENTS_INLINE_BYTES:
            connection.reply(failed(f"arguments of over {HELPER_ARGUMENTS_INLINE_BYTES} bytes have to be in a file"))
            return
        self._numbers += 1
        call_id = f"{self._boot}-{self._numbers}"
        call = HelperCall(
            call_id,
            request.helper,
            request.arguments,
            request.arguments_path,
            f"{self._answers}/answer-{call_id}",
            caller.execution,
            request.timeout_s,
        )
        connection.call = call
        if caller.execution is not None:
            self._of_execution.setdefault(caller.execution, set()).add(connection)
        if len(self._asking) >= HELPER_CALLS_MAX or self._waiting:
            self._waiting[connection] = call
        else:
            self._ask(connection, call)

    def done(self, connection: "Connection", call: HelperCall) -> None:
        """The call of a connection has ended."""
        self._forget(connection, call)

    # --- inside -----------------------------------------------------------------------------------------

    def _ask(self, connection: "Connection", call: HelperCall) -> None:
        try:
            self._asking.ask(call, connection)
        except PipeViolation as violation:
            self._forget(connection, call)
            connection.reply(failed(violation.message))

    def _withdraw(self, connection: "Connection") -> None:
        call, connection.call = connection.call, None
        if call is not None and self._waiting.pop(connection, None) is None:
            self._asking.cancel(call.id)

    def _forget(self, connection: "Connection", call: HelperCall) -> None:
        if call.execution is not None and (of_it := self._of_execution.get(call.execution)) is not None:
            of_it.discard(connection)
            if not of_it:
                del self._of_execution[call.execution]

    def _freed(self) -> None:
        while self._waiting and len(self._asking) < HELPER_CALLS_MAX:
            connection = next(iter(self._waiting))
            self._ask(connection, self._waiting.pop(connection))


class Connection(asyncio.Protocol):
    """One helper: a request line, then its progress and its answer; then the next. Anything else closes it."""

    def __init__(self, relay: Relay) -> None:
        self.call: HelperCall | None = None
        self._relay = relay
        self._line = RequestLine()
        self._held = 0
        self._full = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it, or close it when there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what the loop gives to a stream's protocol
        self._transport = transport
        if not self._relay.opened(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        if self.call is not None:
            self.abort()  # one call at a time
            return
        request = self._line.feed(data)
        self._hold(self._line.held)
        if request is None:
            if self._line.broken or self._relay.held > HELD_BYTES_MAX:
                self.abort()
            return
        self._relay.begin(self, request)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The helper has gone."""
        self._transport = None
        self._hold(0)
        self._relay.closed(self)

    def pause_writing(self) -> None:
        """The helper does not read: it is not heard either until it does."""
        self._full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has read."""
        self._full = False
        if self._transport is not None:
            self._transport.resume_reading()

    def progressed(self, progress: HelperProgress) -> None:
        """Say how far the call is."""
        if self._transport is not None and not self._full:
            self._transport.write(
                msgspec.json.encode({"progress": {"done": progress.done, "total": progress.total}}) + b"\n"
            )

    def ended(self, end: HelperEnd) -> None:
        """Say the answer."""
        call, self.call = self.call, None
        if call is not None:
            self._relay.done(self, call)
        self.reply(Reply(end.result, end.error, path=end.path))

    def reply(self, reply: Reply) -> None:
        """Say an answer; another request may come then."""
        if self._transport is not None:
            self._transport.write(reply_line(reply))

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()

    def _hold(self, size: int) -> None:
        if size != self._held:
            self._relay.held += size - self._held
            self._held = size


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a path from a message, as it is
