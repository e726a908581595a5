"""The MCP endpoint: Streamable HTTP, for one session or with a session per connection.

A request that belongs to no connection is served by itself: those of protocol 2026-07-28, which has no connections,
and calls of older clients that never said `initialize`.

There is no check of the header `Host`: it is to keep web pages from servers that trust whoever reaches them. This one
trusts nobody without a key, which no browser sends by itself, and so it works behind any name.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import msgspec
from fastapi import Request
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.api.mcp_connections import Connection, Connections
from sandbox.api.mcp_events import EventLog, parse_event_id
from sandbox.api.mcp_road import Exchange, Road, put_road
from sandbox.api.mcp_server import McpHandlers
from sandbox.api.services import Services
from sandbox.errors import InvalidRequest, NotFound
from sandbox.limits import MIB
from sandbox.upstreams.json_values import VALUES_MAX, has_too_many

EVENTS_BYTES: Final = 64 * MIB
"""Of all connections together, kept for streams that are resumed."""

CONNECTIONS: Final = 2_000
IDLE_S: Final = 4 * 3600.0
"""A connection that was not used for so long is forgotten; its session is not."""

_ID: Final = "mcp-session-id"
_VERSION: Final = "mcp-protocol-version"
_LAST_EVENT: Final = "last-event-id"
_OLDEST: Final = HANDSHAKE_PROTOCOL_VERSIONS[0]


class _Head(msgspec.Struct, frozen=True):
    """What has to be known of a message to know who serves it."""

    method: str | None = None
    id: str | int | None = None


class McpEndpoint:
    """Serves the endpoint while `running`."""

    def __init__(self, services: Services) -> None:
        self._manager = services.manager
        server = McpHandlers(services.manager, services.toolbox).server()
        self._alone = StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=services.max_body_bytes
        )
        self._connections = Connections(server, EventLog(EVENTS_BYTES), most=CONNECTIONS, idle_s=IDLE_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within this."""
        async with self._alone.run(), self._connections.running():
            yield

    async def answer(self, request: Request, owner: str, path: str | None) -> Response:
        """Find who serves a request, which is given back as a response that does.

        Raises:
            NotFound: the address names the id of a session that this key has not, or the connection is unknown.
            InvalidRequest: it is of a kind that needs a connection, and names none; or its body has too many values.
        """
        session = await self._manager.resolve(owner, path, None) if path is not None else None
        body = await request.body() if request.method == "POST" else b""
        if has_too_many(body):  # the SDK makes objects of all of them, and nothing else runs meanwhile
            raise InvalidRequest(f"The body has more than {VALUES_MAX:,} values", suggested_fix="Send it as a file.")
        receive = _again(body, request.receive)
        road = Road(owner, session, path)
        put_road(request.scope, road)
        if request.headers.get(_VERSION, _OLDEST) not in HANDSHAKE_PROTOCOL_VERSIONS:
            return _Served(self._alone.handle_request, receive)
        head = _head(body)
        stream = str(head.id) if head.id is not None else None
        if (connection_id := request.headers.get(_ID)) is not None:
            connection = self._connections.find(connection_id, owner, path)
            road.session_ref = connection.session_ref
            if request.method == "DELETE":
                return _Served(partial(self._end, connection), receive)
            if request.method == "GET":
                return _Served(_exchanged(partial(connection.answer, _resumed(request), None)), receive)
            return _Served(_exchanged(partial(connection.answer, stream, road)), receive)
        if head.method == "initialize":
            return _Served(_exchanged(partial(self._connections.open, owner, path, stream)), receive)
        if request.method == "POST":
            return _Served(self._alone.handle_request, receive)
        raise InvalidRequest(
            f"{request.method} needs the header {_ID}", suggested_fix="Send `initialize` by POST: its answer has it."
        )

    async def _end(self, connection: Connection, scope: Scope, receive: Receive, send: Send) -> None:
        """End a connection, and with it the session that was made for it: nobody else knows that one."""
        await connection.answer(None, None, Exchange(scope, receive, send))
        await self._connections.close(connection)
        if connection.path is None:
            with suppress(NotFound):
                await self._manager.delete(connection.owner, connection.session_ref)


class _Served(Response):
    """A response that an ASGI application writes, which reads the request's body once more."""

    def __init__(self, app: ASGIApp, receive: Receive) -> None:
        super().__init__()
        self._app = app
        self._receive = receive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over. A stream that is left off, as at a shutdown, is ended in good order."""
        del receive  # its body is read already
        unfinished = False

        async def noted(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await self._app(scope, self._receive, noted)
        if unfinished:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _head(body: bytes) -> _Head:
    """Look at a message; one that is none is left to the SDK, which says so."""
    try:
        return msgspec.json.decode(body, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Head()


def _resumed(request: Request) -> str | None:
    """Which response stream a GET goes on with; None for the one that is of no request."""
    last_event = request.headers.get(_LAST_EVENT)
    return parse_event_id(last_event)[1] if last_event else None


def _exchanged(answer: Callable[[Exchange], Awaitable[None]]) -> ASGIApp:
    """Make an ASGI application of what answers one exchange."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(Exchange(scope, receive, send))

    return app


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body once more, and then what comes after it: the client's leaving."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
