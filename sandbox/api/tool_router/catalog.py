"""The catalogue: the tools of a session, of all, and one by its slug, which clients ask for before each call."""

import functools
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from sandbox.api.services import Given, Owner, Services
from sandbox.api.tool_router.items import CatalogItem, meta_item, toolkit_item
from sandbox.api.tool_router.paging import page_of
from sandbox.api.tool_router.routing import SESSION, Ref, Routes
from sandbox.api.wire import JSON, encode, json_response
from sandbox.errors import InvalidRequest
from sandbox.gateway.policy import META_PREFIX, normal_slug
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import read_config
from sandbox.tools.base import MetaTool
from sandbox.tools.catalog import offered
from sandbox.tools.exposure import UNLISTED

PRELOAD_MAX: Final = 1000
_SLUGS_MAX: Final = 500

Cursor = Annotated[str | None, Query(max_length=100)]
Limit = Annotated[float, Query(ge=1, le=1000)]


class ToolPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of tools."""

    items: list[CatalogItem]
    next_cursor: str | None
    total_pages: int
    current_page: int
    total_items: int


def routes(prefix: str) -> APIRouter:
    """Make the routes."""
    made = Routes(prefix, "tools")
    made.add("GET", f"{SESSION}/tools", list_session_tools, "List the tools of a session")
    made.add("GET", "/tools", list_tools, "List tools, or look several up")
    made.add("GET", "/tools/{slug}", get_tool, "Read a tool")
    return made.router


async def list_session_tools(
    session_id: Ref, owner: Owner, services: Given, *, limit: Limit = 500, cursor: Cursor = None
) -> Response:
    """List the meta tools that a session has, and the tools that it preloads."""
    session = await services.manager.get(owner, session_id)
    config = read_config(session.config)
    items = [meta_item(tool) for tool in offered(services.toolbox, config)]
    items += await _preloaded(services, session)
    return json_response(_page(items, limit, cursor))


async def list_tools(
    owner: Owner,  # noqa: ARG001 - only known keys may look
    services: Given,
    *,
    tool_slugs: Annotated[str | None, Query(max_length=20_000)] = None,
    toolkit_slug: Annotated[str | None, Query(max_length=200)] = None,
    query: Annotated[str | None, Query(max_length=1000)] = None,
    search: Annotated[str | None, Query(max_length=1000)] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """List the tools of this server, or those of `tool_slugs`; those of a tool backend only by their slugs."""
    if tool_slugs is not None:
        slugs = [slug for slug in tool_slugs.split(",") if slug.strip()]
        if len(slugs) > _SLUGS_MAX:
            raise InvalidRequest(f"tool_slugs: has {len(slugs)} slugs, more than {_SLUGS_MAX}")
        return json_response(_page(await _named(services, slugs), max(limit, len(slugs)), cursor))
    items = [meta_item(tool) for tool in services.toolbox if tool.slug not in UNLISTED]
    items += [toolkit_item(tool) for tool in await services.directory.listed()]
    words = (query or search or "").lower().split()
    found = [item for item in items if _fits(item, toolkit_slug, words)]
    return json_response(_page(found, limit, cursor))


async def get_tool(
    slug: str,
    owner: Owner,  # noqa: ARG001 - only known keys may look
    services: Given,
) -> Response:
    """Read a tool. Cheap for meta tools: SDKs ask before each call."""
    tool = services.toolbox.get(slug)
    if tool is not None:
        return Response(_meta_bytes(tool), media_type=JSON)
    for item in await _named(services, [slug]):
        return json_response(item)
    raise services.toolbox.unknown(slug)


@functools.cache
def _meta_bytes(tool: MetaTool) -> bytes:
    """Encode the item of a meta tool, once for each: there is a handful of them."""
    return encode(meta_item(tool))


async def _preloaded(services: Services, session: Session) -> list[CatalogItem]:
    wanted = read_config(session.config).preload.tools
    if not wanted:
        return []
    if wanted == "all":
        return [toolkit_item(tool) for tool in (await services.directory.listed(session))[:PRELOAD_MAX]]
    found = await services.directory.find(session, [slug.strip().upper() for slug in wanted])
    return [toolkit_item(tool) for tool in found.tools.values()]


async def _named(services: Services, slugs: list[str]) -> list[CatalogItem]:
    """Give those of the slugs that there are, in their order."""
    found: dict[str, CatalogItem] = {}
    others = []
    plain = [normal_slug(slug) for slug in slugs]
    for slug in plain:
        tool = services.toolbox.get(slug)
        if tool is not None:
            found[slug] = meta_item(tool)
        elif not slug.startswith(META_PREFIX):
            others.append(slug)
    if others:
        found |= {slug: toolkit_item(tool) for slug, tool in (await services.directory.describe(others)).items()}
    return [found[slug] for slug in dict.fromkeys(plain) if slug in found]


def _fits(item: CatalogItem, toolkit: str | None, words: list[str]) -> bool:
    if toolkit and item.toolkit.slug.lower() != toolkit.lower():
        return False
    text = f"{item.slug} {item.name} {item.description}".lower()
    return all(word in text for word in words)


def _page(items: list[CatalogItem], limit: float, cursor: str | None) -> ToolPage:
    page = page_of(items, limit=int(limit), cursor=cursor)
    return ToolPage(
        items=list(page.items),
        next_cursor=page.next_cursor,
        total_pages=page.pages,
        current_page=page.number,
        total_items=page.total,
    )
