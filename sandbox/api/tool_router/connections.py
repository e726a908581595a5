"""The toolkits of a session, and links to connect accounts."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sandbox.api.services import Given, Owner
from sandbox.api.tool_router.config_wire import NOBODY
from sandbox.api.tool_router.paging import page_of
from sandbox.api.tool_router.routing import SESSION, Ref, Routes
from sandbox.api.wire import json_response, optional_text, read_object, required_text
from sandbox.errors import InvalidRequest, NotFound
from sandbox.gateway.policy import normal_toolkit
from sandbox.gateway.standing import Kind, Standing, how_to_add
from sandbox.sessions.session import Session
from sandbox.upstreams.base import Principal

_ACCOUNT: Final = "ca_here_"


class AuthConfigItem(msgspec.Struct, frozen=True):
    """How a toolkit is reached: with what is in the server's settings."""

    id: str
    auth_scheme: str
    is_composio_managed: bool = False


class AccountItem(msgspec.Struct, frozen=True, kw_only=True):
    """The connection of a toolkit. `status`: ACTIVE, INITIATED or FAILED."""

    id: str
    status: str
    user_id: str
    created_at: datetime
    auth_config: AuthConfigItem


class ToolkitMeta(msgspec.Struct, frozen=True):
    """What a toolkit is, in words."""

    description: str
    logo: str = ""


class ToolkitItem(msgspec.Struct, frozen=True, kw_only=True):
    """A toolkit. `is_no_auth`: false, so that clients show its connection."""

    slug: str
    name: str
    meta: ToolkitMeta
    connected_account: AccountItem
    enabled: bool = True
    is_no_auth: bool = False
    composio_managed_auth_schemes: tuple[str, ...] = ()


class ToolkitPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of toolkits."""

    items: list[ToolkitItem]
    next_cursor: str | None
    total_pages: int
    current_page: int
    total_items: int


class LinkRequest(msgspec.Struct, frozen=True):
    """A toolkit to connect an account of. `callback_url`: where the person is sent afterwards."""

    toolkit: str
    callback_url: str | None = None
    alias: str | None = None


class LinkAnswer(msgspec.Struct, frozen=True):
    """A link for a person to open."""

    link_token: str
    redirect_url: str
    connected_account_id: str


def routes(prefix: str) -> APIRouter:
    """Make the routes."""
    made = Routes(prefix, "connections (Composio)")
    made.add("GET", f"{SESSION}/toolkits", list_session_toolkits, "List the toolkits of a session")
    made.add("POST", f"{SESSION}/link", link_account, "Make a link to connect an account", status=201)
    return made.router


async def list_session_toolkits(
    session_id: Ref,
    owner: Owner,
    services: Given,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    toolkits: Annotated[list[str] | None, Query()] = None,
    is_connected: bool | None = None,
    search: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """List the configured toolkits that the session may use, with their connections; a backend's are not listed."""
    session = await services.manager.get(owner, session_id)
    standings = await services.directory.standings(session)
    wanted = {normal_toolkit(name) for each in toolkits or () for name in each.split(",")}
    found = [
        standing
        for standing in sorted(standings.values(), key=lambda each: each.toolkit)
        if (not wanted or normal_toolkit(standing.toolkit) in wanted)
        and (is_connected is None or standing.active is is_connected)
        and (not search or search.lower() in f"{standing.toolkit} {standing.words}".lower())
    ]
    page = page_of(found, limit=limit, cursor=cursor)
    return json_response(
        ToolkitPage(
            items=[_item(session, standing) for standing in page.items],
            next_cursor=page.next_cursor,
            total_pages=page.pages,
            current_page=page.number,
            total_items=page.total,
        )
    )


async def link_account(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Make a link at the tool backend. Toolkits of this server have their credentials in its settings."""
    body = await read_object(request)
    toolkit = required_text(body, "toolkit")
    callback_url, alias = optional_text(body, "callback_url"), optional_text(body, "alias")
    session = await services.manager.get(owner, session_id)
    refused = services.directory.refusal(session, toolkit)
    if refused is not None:
        raise refused
    standing = (await services.directory.standings(session)).get(normal_toolkit(toolkit))
    if standing is not None:
        raise InvalidRequest(
            f"toolkit: {toolkit[:100]} has nothing to connect, its credential is in this server's settings. "
            f"{standing.words}",
            suggested_fix=standing.fix,
        )
    if services.connect is None:
        raise NotFound(f"toolkit: there is no {toolkit[:100]} on this server", suggested_fix=how_to_add(toolkit[:100]))
    principal = Principal(session.id, session.owner, session.user_id)
    made = await services.connect.link(principal, toolkit, callback_url=callback_url, alias=alias)
    return json_response(LinkAnswer(made.token, made.url, made.account_id), status_code=201)


def toolkit_of_account(account: str) -> str:
    """Give the toolkit of an account that was listed here.

    Raises:
        NotFound: it is none of these.
    """
    if not account.startswith(_ACCOUNT):
        raise NotFound(
            f"connected_account_id: there is no {account[:100]!r} on this server",
            suggested_fix="Send toolkit_slug, or the id of a connected account of GET .../toolkits.",
        )
    return account.removeprefix(_ACCOUNT)


def _item(session: Session, standing: Standing) -> ToolkitItem:
    scheme = "API_KEY" if standing.kind is Kind.PROXY else "NO_AUTH"
    return ToolkitItem(
        slug=standing.toolkit,
        name=standing.toolkit,
        meta=ToolkitMeta(standing.words),
        connected_account=AccountItem(
            id=f"{_ACCOUNT}{standing.toolkit}",
            status=standing.state.upper(),
            user_id=session.user_id or NOBODY,
            created_at=session.created_at,
            auth_config=AuthConfigItem(f"ac_here_{standing.toolkit}", scheme),
        ),
    )
