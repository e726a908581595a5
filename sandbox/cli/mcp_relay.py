"""The relay of `workbench mcp`: requests from standard input are asked of a controller's MCP endpoint by HTTP.

Each request goes by itself, as protocol 2026-07-28 has it, so a controller that is started anew is no end of the relay.
"""

from typing import Any, Final, TypeVar

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ClientRequest,
    ListResourcesRequest,
    ListResourcesResult,
    ListResourceTemplatesRequest,
    ListResourceTemplatesResult,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequest,
    ReadResourceRequestParams,
    ReadResourceResult,
    Result,
)
from mcp.types.version import LATEST_MODERN_VERSION

from sandbox import __version__
from sandbox.api.mcp_words import INSTRUCTIONS

SILENCE_MAX_S: Final = 120.0
"""A controller that runs a call gives a sign of life every few seconds."""

CONNECT_S: Final = 5.0

Context = ServerRequestContext[Any, Any]
_ResultT = TypeVar("_ResultT", bound=Result)


class Relay:
    """Answers an MCP client by what the endpoint at `url` says."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._url = url
        self._http = http

    def server(self) -> Server[Any]:
        """Make the SDK's server that the client talks to."""
        return Server(
            "workbench",
            version=__version__,
            title="Workbench",
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
        )

    async def list_tools(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        """List the tools."""
        return await self._ask(context, ListToolsRequest(params=params), ListToolsResult)

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Call a tool. Cancelling closes the request, which interrupts what runs."""
        asked = CallToolRequestParams(name=params.name, arguments=params.arguments)
        return await self._ask(context, CallToolRequest(params=asked), CallToolResult)

    async def list_resources(self, context: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """List files."""
        return await self._ask(context, ListResourcesRequest(params=params), ListResourcesResult)

    async def list_templates(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """Say what the URIs of files look like."""
        return await self._ask(context, ListResourceTemplatesRequest(params=params), ListResourceTemplatesResult)

    async def read_resource(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Read a file."""
        asked = ReadResourceRequestParams(uri=params.uri)
        return await self._ask(context, ReadResourceRequest(params=asked), ReadResourceResult)

    async def _ask(self, context: Context, request: ClientRequest, wanted: type[_ResultT]) -> _ResultT:
        try:
            transport = streamable_http_client(self._url, http_client=self._http)
            async with Client(transport, mode=LATEST_MODERN_VERSION) as client:
                return await client.session.send_request(
                    request, wanted, progress_callback=context.session.report_progress
                )
        except (MCPError, httpx2.HTTPError, ExceptionGroup) as error:
            raise self._told(error) from None

    def _told(self, error: Exception) -> Exception:
        """Give what a client is told of an error, which may come in a group of one."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, httpx2.HTTPError):
            why = str(error) or type(error).__name__
            return MCPError(INTERNAL_ERROR, f"No controller answers at {self._url} ({why})")
        return error


async def relay(url: str, key: str) -> None:
    """Relay between standard input and output and the endpoint at `url`, until the input ends."""
    timeout = httpx2.Timeout(SILENCE_MAX_S, connect=CONNECT_S)
    # A proxy of the environment is for the world outside, not for our own controller.
    async with httpx2.AsyncClient(headers={"x-api-key": key}, timeout=timeout, trust_env=False) as http:
        server = Relay(url, http).server()
        async with stdio_server() as (received, sent):
            await server.run(received, sent, server.create_initialization_options())
