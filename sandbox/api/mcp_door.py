"""The routes of MCP: `/tool_router/{session_id}/mcp`, and `/mcp` with a session per connection.

What answers them is imported and begun with the first request: the models of the protocol are a third of what a
controller imports, and many controllers are never asked by MCP.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from sandbox.api.exact_route import ExactRoute
from sandbox.api.services import Owner, Services

if TYPE_CHECKING:
    from sandbox.api.mcp import McpEndpoint

_METHODS: Final = ["POST", "GET", "DELETE"]


class McpDoor:
    """Gives the endpoint to its routes, while `running`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._begun: asyncio.Future[McpEndpoint] | None = None
        self._life: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within this."""
        try:
            yield
        finally:
            self._leaving.set()
            if self._life is not None:
                await self._life

    async def endpoint(self) -> "McpEndpoint":
        """Give the endpoint, which the first who asks begins.

        Raises:
            Exception: what kept it from beginning; who asks next tries again.
        """
        if self._begun is None:
            loop = asyncio.get_running_loop()
            self._begun = loop.create_future()
            self._life = loop.create_task(self._live(self._begun))
        # Shielded: who leaves while it is imported leaves the others waiting.
        return await asyncio.shield(self._begun)

    async def _live(self, begun: "asyncio.Future[McpEndpoint]") -> None:
        """Own the endpoint from its beginning to its end: both have to be in one task."""
        try:
            make = await asyncio.to_thread(_load)
            endpoint = make(self._services)
            async with endpoint.running():
                begun.set_result(endpoint)
                await self._leaving.wait()
        except Exception as error:
            if begun.done():
                raise
            self._begun = None
            begun.set_exception(error)
            begun.exception()  # its reader may have left


def mcp_routes(door: McpDoor) -> APIRouter:
    """Make the routes. They are no part of the documentation: the protocol is."""

    async def of_session(session_id: Annotated[str, Path(max_length=500)], request: Request, owner: Owner) -> Response:
        return await (await door.endpoint()).answer(request, owner, session_id)

    async def of_connection(request: Request, owner: Owner) -> Response:
        return await (await door.endpoint()).answer(request, owner, None)

    router = APIRouter(route_class=ExactRoute)
    router.add_api_route("/tool_router/{session_id}/mcp", of_session, methods=_METHODS, include_in_schema=False)
    router.add_api_route("/mcp", of_connection, methods=_METHODS, include_in_schema=False)
    return router


def _load() -> "type[McpEndpoint]":
    from sandbox.api.mcp import McpEndpoint  # noqa: PLC0415 - slow

    return McpEndpoint
