"""COMPOSIO_GET_TOOL_SCHEMAS: the whole schemas of tools by slug."""

from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from sandbox.errors import InvalidArguments
from sandbox.gateway.directory import Directory
from sandbox.gateway.policy import normal_slug
from sandbox.sessions.manager import SessionManager
from sandbox.tools.answers import answered, note_of
from sandbox.tools.arguments import read_arguments
from sandbox.tools.base import Caller, MetaTool, SessionNote, ToolResult, session_of
from sandbox.upstreams.base import ToolInfo

SLUGS_MAX: Final = 50
OUTPUT_SCHEMA: Final = "output_schema"


class SchemaRef(msgspec.Struct, frozen=True):
    """How to get a schema that was left out: call `tool` with `args`."""

    tool: str
    args: dict[str, Any]
    message: str


class ToolSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is and takes: `input_schema`, or `schemaRef` where that is too large to come along."""

    toolkit: str
    tool_slug: str
    description: str
    input_schema: dict[str, Any] | UnsetType = UNSET
    schema_ref: SchemaRef | UnsetType = msgspec.field(default=UNSET, name="schemaRef")
    has_full_schema: bool = msgspec.field(default=True, name="hasFullSchema")
    output_schema: dict[str, Any] | UnsetType = UNSET


class GetSchemasArguments(msgspec.Struct, frozen=True):
    """`include`: `output_schema` gives that too."""

    tool_slugs: Annotated[list[str], msgspec.Meta(min_length=1, max_length=SLUGS_MAX)]
    include: list[str] | None = None
    session_id: str | None = None
    thought: str | None = None


class GetSchemasData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer. `message`: why those of `not_found` are not there, and what is near them."""

    success: bool
    tool_schemas: dict[str, ToolSchema]
    not_found: list[str]
    message: str | None = None
    session: SessionNote


class GetSchemasTool(MetaTool):
    """Describes tools."""

    slug = "COMPOSIO_GET_TOOL_SCHEMAS"
    arguments_type = GetSchemasArguments
    data_type = GetSchemasData

    def __init__(self, manager: SessionManager, directory: Directory) -> None:
        self._manager = manager
        self._directory = directory

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Describe them. What is not found is no failure while something is."""
        asked = read_arguments(arguments, GetSchemasArguments, {})
        session = await session_of(self._manager, caller, asked.session_id, self.slug)
        structlog.contextvars.bind_contextvars(session=session.id)
        slugs, bad = _normal(asked.tool_slugs)
        found = await self._directory.find(session, slugs)
        missing = {**bad, **found.missing}
        parts = [*missing.values(), f"The tool backend could not be asked: {found.trouble}" if found.trouble else ""]
        message = " ".join(part for part in parts if part) or None
        with_output = OUTPUT_SCHEMA in (asked.include or ())
        data = GetSchemasData(
            success=bool(found.tools),
            tool_schemas={slug: whole(tool, with_output=with_output) for slug, tool in found.tools.items()},
            not_found=list(missing),
            message=message,
            session=note_of(session),
        )
        return answered(data, None if found.tools else message)


def whole(tool: ToolInfo, *, with_output: bool = False) -> ToolSchema:
    """Give everything about a tool."""
    return ToolSchema(
        toolkit=tool.toolkit,
        tool_slug=tool.slug,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema if with_output and tool.output_schema else UNSET,
    )


def referred(tool: ToolInfo, description: str) -> ToolSchema:
    """Give a tool without its schema, and how to get that."""
    ref = SchemaRef(
        GetSchemasTool.slug, {"tool_slugs": [tool.slug]}, "The schema is large: get it before you call the tool."
    )
    return ToolSchema(
        toolkit=tool.toolkit, tool_slug=tool.slug, description=description, schema_ref=ref, has_full_schema=False
    )


def _normal(slugs: list[str]) -> tuple[list[str], dict[str, str]]:
    """Give the slugs in their one spelling, each once, and those that are none with the reason."""
    good: dict[str, None] = {}
    bad: dict[str, str] = {}
    for slug in slugs:
        try:
            good[normal_slug(slug)] = None
        except InvalidArguments as error:
            bad[slug[:200]] = error.message
    return list(good), bad
