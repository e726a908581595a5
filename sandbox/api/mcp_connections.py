"""MCP connections with a `mcp-session-id`: from `initialize` to DELETE, or until nobody used them for long.

The SDK's transport speaks the protocol. Kept here is what it leaves to a server: whose a connection is, how many there
are, and what happens to a call whose client has gone.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus
from mcp.server import Server
from mcp.server.streamable_http import StreamableHTTPServerTransport
from starlette.types import Message

from sandbox.api.mcp_events import ConnectionEvents, EventLog
from sandbox.api.mcp_road import Exchange, Road
from sandbox.errors import NotFound, Overloaded

log = structlog.get_logger(__name__)

RESUME_S: Final = 30.0

_RETRY_MS: Final = 500
"""After how long clients are told to resume."""


class Connection:
    """One client's connection. `path`: the session that its address names, as it is written there; None: `/mcp`.

    `resume_s`: how long a call goes on whose stream was cut, for its client to resume it.
    """

    def __init__(
        self, owner: str, path: str | None, events: ConnectionEvents, *, idle_s: float, resume_s: float = RESUME_S
    ) -> None:
        self.id = secrets.token_hex(16)
        self.owner = owner
        self.path = path
        self.used_at = monotonic()
        self.requests = 0
        self.events = events
        self._resume_s = resume_s
        self.transport = StreamableHTTPServerTransport(
            self.id, event_store=events, retry_interval=_RETRY_MS, idle_timeout=idle_s
        )
        self._listeners: Counter[str] = Counter()
        self._roads: dict[str, Road] = {}

    @property
    def session_ref(self) -> str:
        """The session of its calls: the one of its address, else one of its own."""
        return self.path if self.path is not None else f"mcp-{self.id}"

    async def answer(self, stream: str | None, road: Road | None, given: Exchange) -> None:
        """Serve one HTTP request. `stream`: the response stream that it opens or resumes; `road`: of the call on it."""
        self.requests += 1
        if stream is not None and road is not None:
            self._roads[stream] = road
        try:
            with self._listening(stream):
                await self.transport.handle_request(given.scope, given.receive, given.send)
        finally:
            self.requests -= 1
            self.used_at = monotonic()

    async def end(self) -> None:
        """End it: what still runs in it is cancelled."""
        self.events.close()
        if not self.transport.is_terminated:
            with anyio.CancelScope(shield=True):
                await self.transport.terminate()

    @contextmanager
    def _listening(self, stream: str | None) -> Iterator[None]:
        if stream is None:
            yield
            return
        self._listeners[stream] += 1
        try:
            yield
        finally:
            self._listeners[stream] -= 1
            if not self._listeners[stream]:
                del self._listeners[stream]
                self._left(stream)

    def _left(self, stream: str) -> None:
        """Nobody reads a stream any more: it is done, or its client was cut off and may come back to it."""
        road = self._roads.get(stream)
        if road is None:
            return
        if not self.events.knows(stream):
            # Either it is answered, or the client has no event's id to come back with.
            self._give_up(stream, road)
        else:
            asyncio.get_running_loop().call_later(self._resume_s, self._give_up, stream, road)

    def _give_up(self, stream: str, road: Road) -> None:
        if not self._listeners[stream] and self._roads.get(stream) is road:
            del self._roads[stream]
            road.abandon()


class Connections:
    """All of them, at most `most`; a new one takes the place of an idle one."""

    def __init__(self, server: Server[Any], events: EventLog, *, most: int, idle_s: float) -> None:
        self._server = server
        self._events = events
        self._most = most
        self._idle_s = idle_s
        self._group: TaskGroup | None = None
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within this; at its end all connections are closed."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None
                group.cancel_scope.cancel()

    def find(self, connection_id: str, owner: str, path: str | None) -> Connection:
        """Give a connection. Raises `NotFound` when it is unknown or ended, another key's, or of another address."""
        found = self._connections.get(connection_id)
        if found is None or found.owner != owner or found.path != path:
            raise NotFound(
                "no MCP connection with this mcp-session-id", suggested_fix="Send `initialize` for a new one."
            )
        return found

    async def open(self, owner: str, path: str | None, stream: str | None, given: Exchange) -> None:
        """Begin a connection and let it answer the request that opens it. One that is refused leaves nothing behind.

        Raises:
            Overloaded: there are as many as there may be, and all are in use.
        """
        if self._group is None:
            raise Overloaded("the controller shuts down", retry_after_s=10)
        await self._make_room()
        connection = Connection(owner, path, ConnectionEvents(self._events), idle_s=self._idle_s)
        self._connections[connection.id] = connection
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await given.send(message)

        try:
            await self._group.start(self._serve, connection)
            await connection.answer(stream, None, replace(given, send=noted))
        finally:
            if not 0 < status < 400:
                await self.close(connection)

    async def close(self, connection: Connection) -> None:
        """End a connection."""
        self._connections.pop(connection.id, None)
        await connection.end()

    async def _make_room(self) -> None:
        if len(self._connections) < self._most:
            return
        idle = [each for each in self._connections.values() if not each.requests]
        if not idle:
            raise Overloaded(f"{self._most} MCP connections are open and in use", retry_after_s=10)
        # Of whom has most of them: nobody can use up the room of others.
        held = Counter(each.owner for each in self._connections.values())
        await self.close(min(idle, key=lambda each: (-held[each.owner], each.used_at)))

    async def _serve(
        self, connection: Connection, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            async with connection.transport.connect() as (received, sent):
                task_status.started()
                with connection.transport.idle_scope or anyio.CancelScope():
                    await self._server.run(received, sent, self._server.create_initialization_options())
        except Exception:
            # A defect costs this connection, and not all of them.
            log.exception("an MCP connection broke off")
        finally:
            await self.close(connection)
