"""The tools that one MCP server lists, under the slugs by which they are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Final

from mcp import ClientSession
from mcp_types import PaginatedRequestParams, Tool, ToolAnnotations

from sandbox.errors import UpstreamInvalid
from sandbox.upstreams.base import ToolInfo
from sandbox.upstreams.mcp_link import TOOLS_MAX
from sandbox.upstreams.mcp_names import unique_slugs
from sandbox.upstreams.mcp_schema import ArgumentCheck

PAGES_MAX: Final = 1_000
_DESCRIPTION_CHARS: Final = 20_000


@dataclass(frozen=True)
class ListedTool:
    """A tool. Its schema is compiled when it is first called."""

    info: ToolInfo

    @cached_property
    def check(self) -> ArgumentCheck:
        """The compiled input schema."""
        return ArgumentCheck(self.info.slug, self.info.input_schema)


Listed = Mapping[str, ListedTool]
"""Tools by slug."""


async def list_tools(session: ClientSession, toolkit: str, prefix: str) -> Listed:
    """Ask for all pages of a server's list.

    Raises:
        UpstreamInvalid: it does not end.
        UpstreamError, MCPError, ValidationError: as the session raises.
    """
    tools: dict[str, Tool] = {}
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        tools.update((tool.name, tool) for tool in page.tools)
        cursor, before = page.next_cursor, cursor
        if len(tools) > TOOLS_MAX:
            break
        if not cursor:
            return _by_slug(tools, toolkit, prefix)
        if cursor == before:
            break
    raise UpstreamInvalid(
        f"MCP server {toolkit!r} lists tools without end; {len(tools)} were read, and {TOOLS_MAX} is the most"
    )


def near(slug: str, slugs: list[str]) -> str:
    """Say which tools have a similar slug; all, where there are few."""
    found = get_close_matches(slug, slugs, n=5, cutoff=0.5) or sorted(slugs)[:10]
    return f"It has: {', '.join(found)}." if found else "It has no tools."


def _by_slug(tools: Mapping[str, Tool], toolkit: str, prefix: str) -> Listed:
    return {
        f"{prefix}_{slug}": ListedTool(_info(tools[name], f"{prefix}_{slug}", toolkit))
        for name, slug in unique_slugs(tools).items()
    }


def _info(tool: Tool, slug: str, toolkit: str) -> ToolInfo:
    return ToolInfo(
        slug=slug,
        name=tool.name,
        description=(tool.description or tool.title or "")[:_DESCRIPTION_CHARS],
        toolkit=toolkit,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema or {},
        tags=_tags(tool.annotations),
    )


def _tags(annotations: ToolAnnotations | None) -> tuple[str, ...]:
    if annotations is None:
        return ()
    hints = {
        "read_only": annotations.read_only_hint,
        "destructive": annotations.destructive_hint,
        "idempotent": annotations.idempotent_hint,
        "open_world": annotations.open_world_hint,
    }
    return tuple(tag for tag, said in hints.items() if said)
