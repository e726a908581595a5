"""The direct road: run a tool by its slug, without a session in the path."""

from time import perf_counter
from typing import Any, Final

import msgspec
import structlog
from fastapi import APIRouter, Request
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from sandbox.api.lean_route import LeanRoute
from sandbox.api.services import Given, Owner
from sandbox.api.tool_router.connections import toolkit_of_account
from sandbox.api.tool_router.execution import run_tool
from sandbox.api.tool_router.routing import Routes
from sandbox.api.wire import encode, optional_text, read_object
from sandbox.tools.base import Caller
from sandbox.tools.proxy_execute import ProxyRequest, read_request, sent

TOOLKIT: Final = "toolkit_slug"


class ExecuteRequest(msgspec.Struct, frozen=True):
    """Body of a call. Other fields are accepted and ignored."""

    arguments: dict[str, Any]
    user_id: str | None = None
    connected_account_id: str | None = None


class ExecuteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of a call, also when the code that ran failed: then `successful` is false and `error` says why."""

    data: msgspec.Struct | msgspec.Raw
    error: str | None
    successful: bool
    log_id: str
    session_info: None = None


class DirectProxyRequest(ProxyRequest, frozen=True, kw_only=True):
    """A request by a connected account instead of by `toolkit_slug`."""

    toolkit_slug: str | UnsetType = UNSET  # type: ignore[assignment] # documentation: one of the two has to be there
    connected_account_id: str | None = None
    user_id: str | None = None


class ProxyAnswerItem(msgspec.Struct, frozen=True):
    """Answer of an API, whatever its status."""

    status: int
    data: msgspec.Raw
    headers: dict[str, str]


def routes(prefix: str) -> APIRouter:
    """Make the routes; that of raw requests before that of slugs."""
    made = Routes(prefix, "tools", LeanRoute)
    made.add("POST", "/tools/execute/proxy", execute_proxy, "Send one raw request to a toolkit's API")
    made.add("POST", "/tools/execute/{slug}", execute_tool, "Run a tool")
    return made.router


async def execute_tool(slug: str, request: Request, owner: Owner, services: Given) -> Response:
    """Run Python (COMPOSIO_REMOTE_WORKBENCH), bash (COMPOSIO_REMOTE_BASH_TOOL), or any other tool.

    The session is the one of `arguments.session_id`, else of `user_id`, else the API key's default; a tool of a toolkit
    has no `session_id` in its arguments. What runs is interrupted when the client closes its connection.
    """
    body = await read_object(request)
    services.metrics.stage("read", perf_counter() - request.scope["state"]["begun"])
    caller = Caller(owner, optional_text(body, "user_id"))
    account = optional_text(body, "connected_account_id")

    async def work() -> bytes:
        result = await run_tool(services, caller, slug, body.get("arguments"), account=account)
        began = perf_counter()
        answer = encode(
            ExecuteAnswer(data=result.data, error=result.error, successful=result.successful, log_id=result.log_id)
        )
        services.metrics.stage("encode", perf_counter() - began)
        return answer

    return await services.once.answer(request, owner, work)


async def execute_proxy(request: Request, owner: Owner, services: Given) -> Response:
    """Send one raw request; the toolkit is that of `connected_account_id`, or `toolkit_slug` itself."""
    body = await read_object(request)
    user_id = optional_text(body, "user_id")
    account = optional_text(body, "connected_account_id")
    if body.get(TOOLKIT) is None and account:
        body = {**body, TOOLKIT: toolkit_of_account(account)}
    asked = read_request(body, at="")

    async def work() -> bytes:
        session = await services.manager.resolve(owner, None, user_id)
        structlog.contextvars.bind_contextvars(session=session.id)
        with services.gateway.holding():
            answer = await services.gateway.request(session, sent(asked))
            return encode(ProxyAnswerItem(answer.status, answer.data, answer.headers))

    return await services.once.answer(request, owner, work)
