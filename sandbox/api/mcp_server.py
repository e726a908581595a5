"""The handlers of the MCP face: what it lists and how it calls. The tools are those of all faces."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import structlog
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplate,
    Tool,
    ToolAnnotations,
)

from sandbox import __version__
from sandbox.api.errors import internal_error
from sandbox.api.mcp_content import add_files, answered, failed, needs_files, session_id_in
from sandbox.api.mcp_files import not_there, parse_uri, read_file, recent_files
from sandbox.api.mcp_progress import report_progress
from sandbox.api.mcp_road import Road, road_of
from sandbox.api.mcp_words import INSTRUCTIONS
from sandbox.errors import CallFault, NotFound, WorkbenchError
from sandbox.limits import FILES_DIR
from sandbox.pipe.messages import Artifact, CodeResult
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig, read_config
from sandbox.tools.base import Caller, MetaTool, ToolResult
from sandbox.tools.base import Tool as RunTool
from sandbox.tools.catalog import ToolItem, describe, offered
from sandbox.tools.catalog_words import DESTRUCTIVE, OPEN_WORLD, READ_ONLY
from sandbox.tools.registry import Toolbox

log = structlog.get_logger(__name__)

Context = ServerRequestContext[Any, Any]
_ResultT = TypeVar("_ResultT")

REQUEST_CANCELLED: Final = -32800


class McpHandlers:
    """Answers the methods of the protocol. Each request has its `Road`."""

    def __init__(self, manager: SessionManager, toolbox: Toolbox) -> None:
        self._manager = manager
        self._toolbox = toolbox

    def server(self) -> Server[Any]:
        """Make the SDK's server with these handlers."""
        return Server(
            "workbench",
            version=__version__,
            title="Workbench",
            instructions=INSTRUCTIONS,
            get_tool_input_schema=self._input_schema,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
        )

    # --- tools ----------------------------------------------------------------------------------------

    async def list_tools(self, context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        """List the tools that the session has."""
        return ListToolsResult(tools=[tool_item(describe(tool)) for tool in self._offered(road_of(context))])

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Call a tool. What goes wrong in the call is an answer, not an error of the protocol."""
        road = road_of(context)
        tool = self._find(road, params.name)
        with road.taken():
            return await _bordered(self._call(context, road, tool, params.arguments or {}))
        raise MCPError(REQUEST_CANCELLED, "The client left before the answer")

    async def _call(self, context: Context, road: Road, tool: MetaTool, arguments: dict[str, Any]) -> CallToolResult:
        caller = Caller(road.owner, session_ref=road.session_ref)
        try:
            result, artifacts = await self._run(context, tool, caller, arguments)
        except WorkbenchError as error:
            log.info("a call over MCP failed", tool=tool.slug, slug=error.slug)
            return failed(error)
        answer = answered(result)
        session_id = session_id_in(answer)
        if session_id is not None and needs_files(answer, artifacts):
            # The answer stands, also when its files cannot be had any more.
            with suppress(WorkbenchError):
                session = await self._manager.get(road.owner, session_id)
                async with self._manager.files(session) as files:
                    await add_files(answer, artifacts, session.id, files)
        return answer

    async def _run(
        self, context: Context, tool: MetaTool, caller: Caller, arguments: dict[str, Any]
    ) -> tuple[ToolResult, tuple[Artifact, ...]]:
        if not isinstance(tool, RunTool):
            async with _reporting(context, None):
                return await tool.run(caller, arguments), ()
        execution = await tool.begin(caller, arguments)
        async with _reporting(context, execution):
            result = await tool.finish(execution)
        return result, execution.result.artifacts if isinstance(execution.result, CodeResult) else ()

    def _find(self, road: Road, name: str) -> MetaTool:
        try:
            tool = self._toolbox.find(name)
        except NotFound as error:
            raise MCPError(INVALID_PARAMS, error.message) from None
        if tool not in self._offered(road):
            raise MCPError(INVALID_PARAMS, f"{tool.slug} is switched off in this session (workbench.enable)")
        return tool

    def _offered(self, road: Road) -> Iterable[MetaTool]:
        config = read_config(road.session.config) if road.session is not None else SessionConfig()
        return offered(self._toolbox, config)

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        try:
            return describe(self._toolbox.find(name)).input_schema
        except NotFound:
            return None

    # --- resources ------------------------------------------------------------------------------------

    async def list_resources(self, context: Context, _params: PaginatedRequestParams | None) -> ListResourcesResult:
        """List the newest files of the session. One that has no sandbox has none, and none is started for this."""
        return await _bordered(self._list_files(road_of(context)))

    async def list_templates(
        self, _context: Context, _params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """Say what the URIs of files look like."""
        template = ResourceTemplate(
            uri_template=f"workbench://{{session_id}}{FILES_DIR}/{{+path}}",
            name="session file",
            description=f"A file under {FILES_DIR} in the sandbox of a session; ?offset=N reads on from byte N",
        )
        return ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Read a file of the session."""
        return await _bordered(self._read_file(road_of(context), params.uri))

    async def _list_files(self, road: Road) -> ListResourcesResult:
        session = await self._session(road)
        if session is None or await self._manager.status(session) is None:
            return ListResourcesResult(resources=[])
        async with self._manager.files(session) as files:
            return ListResourcesResult(resources=await recent_files(files, session.id))

    async def _session(self, road: Road) -> Session | None:
        """Give the session of a request; None for one that is not made before its first call."""
        if road.session is not None or road.session_ref is None:
            return road.session or await self._manager.resolve(road.owner, None, None)
        try:
            return await self._manager.get(road.owner, road.session_ref)
        except NotFound:
            return None

    async def _read_file(self, road: Road, uri: str) -> ReadResourceResult:
        address = parse_uri(uri)
        if road.session is not None and road.session.id != address.session_id:
            raise not_there(uri)
        try:
            session = await self._manager.get(road.owner, address.session_id)
            async with self._manager.files(session) as files:
                return ReadResourceResult(contents=list(await read_file(files, address)))
        except NotFound:
            raise not_there(uri) from None
        except CallFault as fault:
            if fault.fault in {"not_found", "not_a_file", "outside", "permission", "invalid"}:
                raise not_there(uri) from None
            raise


def tool_item(item: ToolItem) -> Tool:
    """Say what a tool is in the words of the protocol."""
    return Tool(
        name=item.slug,
        title=item.name.replace("_", " "),
        description=item.description,
        input_schema=item.input_schema,
        output_schema=_answer_schema(item.output_schema),
        annotations=ToolAnnotations(
            destructive_hint=DESTRUCTIVE in item.tags,
            open_world_hint=OPEN_WORLD in item.tags,
            read_only_hint=READ_ONLY in item.tags,
        ),
    )


def _answer_schema(data: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of a whole answer; a call that could not be done has no data."""
    return {
        "type": "object",
        "properties": {
            "data": {"anyOf": [data, {"type": "object", "maxProperties": 0}]},
            "successful": {"type": "boolean"},
            "error": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["data", "successful", "error"],
    }


@asynccontextmanager
async def _reporting(context: Context, execution: Execution | None) -> AsyncIterator[None]:
    """Tell a client that asked for it how far the call is, meanwhile."""
    if context.meta is None or context.meta.get("progress_token") is None:
        yield
        return

    async def report(seconds: float, words: str) -> None:
        await context.session.report_progress(seconds, message=words)

    task = asyncio.create_task(report_progress(execution, report))
    try:
        yield
    finally:
        task.cancel()


async def _bordered(work: Awaitable[_ResultT]) -> _ResultT:
    """Give errors of ours as errors of the protocol; of a defect say only that there was one, not its words."""
    try:
        return await work
    except MCPError:
        raise
    except WorkbenchError as error:
        raise MCPError(INTERNAL_ERROR, error.message, {"slug": error.slug}) from None
    except Exception:
        log.exception("a defect ended an MCP request")
        raise MCPError(INTERNAL_ERROR, internal_error().message) from None
