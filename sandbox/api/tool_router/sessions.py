"""Sessions of the Composio face: make, read, change, delete, attach to, and what they were before."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sandbox.api.services import Given, Owner, Services
from sandbox.api.tool_router.advice import Warned, warnings_of
from sandbox.api.tool_router.config_wire import ConfigItem, config_item
from sandbox.api.tool_router.customs import ExperimentalItem
from sandbox.api.tool_router.paging import make_cursor, pages_of, read_cursor
from sandbox.api.tool_router.requests import read_attachment, read_change, read_creation
from sandbox.api.tool_router.routing import SESSION, Ref, Routes
from sandbox.api.wire import json_response, read_object, read_object_or_none
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import read_config
from sandbox.tools.catalog import offered


class McpItem(msgspec.Struct, frozen=True):
    """Where the session's tools are served to MCP clients."""

    url: str
    type: str = "http"


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A session. `tool_router_tools`: the meta tools that it has; `config_version` counts up with each change."""

    session_id: str
    mcp: McpItem
    tool_router_tools: list[str]
    config: ConfigItem
    config_version: int
    experimental: ExperimentalItem
    warnings: list[Warned]


class SessionDeleted(msgspec.Struct, frozen=True):
    """A session that is no more."""

    session_id: str
    deleted: bool = True


class ConfigVersionItem(msgspec.Struct, frozen=True):
    """A version of a configuration. `created_at`: of the current one its start, of an earlier one its end."""

    version: int
    is_current: bool
    created_at: datetime
    config: ConfigItem


class ConfigHistory(msgspec.Struct, frozen=True, kw_only=True):
    """One page of versions, newest first."""

    items: list[ConfigVersionItem]
    next_cursor: str | None
    total_pages: int
    current_page: int
    total_items: int


def routes(prefix: str) -> APIRouter:
    """Make the routes."""
    made = Routes(prefix, "sessions (Composio)")
    made.add("POST", "/tool_router/session", create_session, "Make a session", status=201)
    made.add("GET", SESSION, get_session, "Read a session")
    made.add("PATCH", SESSION, change_session, "Change a session's configuration")
    made.add("DELETE", SESSION, delete_session, "Delete a session with its sandbox and files")
    made.add("POST", f"{SESSION}/attach", attach_to_session, "Read a session, with tools that the client runs itself")
    made.add("GET", f"{SESSION}/config_history", list_config_history, "List the versions of a configuration")
    return made.router


async def create_session(request: Request, owner: Owner, services: Given) -> Response:
    """Make a session for a user; each has a sandbox of its own."""
    asked = read_creation(await read_object(request))
    session = await services.manager.create(owner, user_id=asked.user_id, config=asked.config)
    return json_response(await _answer(request, services, session, asked.experimental), status_code=201)


async def get_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Read a session."""
    session = await services.manager.get(owner, session_id)
    return json_response(await _answer(request, services, session))


async def change_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Change what is named; null clears a block. 409: the version is not `expected_config_version`."""
    asked = read_change(await read_object(request))
    configs = services.manager.configs
    session = await configs.change(owner, session_id, asked.change, expected_version=asked.expected_version)
    return json_response(await _answer(request, services, session))


async def delete_session(session_id: Ref, owner: Owner, services: Given) -> Response:
    """Delete a session; its sandbox and all files in it are removed."""
    session = await services.manager.get(owner, session_id)
    await services.manager.delete(owner, session.id)
    return json_response(SessionDeleted(session.id))


async def attach_to_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Read a session; the client's own tools in `experimental` get their names in it."""
    experimental = read_attachment(await read_object_or_none(request) or {})
    session = await services.manager.get(owner, session_id)
    return json_response(await _answer(request, services, session, experimental))


async def list_config_history(
    session_id: Ref,
    owner: Owner,
    services: Given,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """List the versions of a session's configuration, newest first, the current one before all others."""
    session = await services.manager.get(owner, session_id)
    before = read_cursor(cursor) if cursor else None
    first = before is None
    room = limit - 1 if first else limit
    earlier = await services.manager.configs.earlier(session, limit=room, before=before)
    current = ConfigVersionItem(session.config_version, True, session.updated_at, config_item(session, session.config))
    past = [
        ConfigVersionItem(each.version, False, each.ended_at, config_item(session, each.config))
        for each in earlier.versions
    ]
    items = [current, *past] if first else past
    oldest = session.config_version - earlier.total
    more = bool(items) and items[-1].version > oldest
    seen = 0 if before is None else session.config_version - before + 1
    return json_response(
        ConfigHistory(
            items=items,
            next_cursor=make_cursor(items[-1].version) if more else None,
            total_pages=pages_of(earlier.total + 1, limit),
            current_page=seen // limit + 1,
            total_items=earlier.total + 1,
        )
    )


async def _answer(
    request: Request, services: Services, session: Session, experimental: ExperimentalItem | None = None
) -> SessionAnswer:
    base = services.public_url or str(request.base_url).rstrip("/")
    return SessionAnswer(
        session_id=session.id,
        mcp=McpItem(f"{base}/tool_router/{session.id}/mcp"),
        tool_router_tools=[tool.slug for tool in offered(services.toolbox, read_config(session.config))],
        config=config_item(session, session.config),
        config_version=session.config_version,
        experimental=experimental or ExperimentalItem(),
        warnings=await warnings_of(services, session),
    )
