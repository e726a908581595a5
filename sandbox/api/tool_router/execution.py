"""Running tools in a session: meta tools, tools of toolkits, searches, raw requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from sandbox.api.lean_route import LeanRoute
from sandbox.api.services import Given, Owner, Services
from sandbox.api.tool_router.routing import SESSION, Ref, Routes
from sandbox.api.wire import encode, flag, json_response, optional_text, read_object, required_text
from sandbox.errors import FieldError
from sandbox.gateway.policy import META_PREFIX
from sandbox.tools.arguments import invalid
from sandbox.tools.base import Caller, ToolResult
from sandbox.tools.proxy_execute import read_request, sent
from sandbox.tools.run_one import OneResult, PreviewData

SEARCH = "COMPOSIO_SEARCH_TOOLS"


class SessionExecuteRequest(msgspec.Struct, frozen=True):
    """A tool to run. `enable_auto_workbench_offload`: a large answer of a toolkit's tool goes to a file."""

    tool_slug: str
    arguments: dict[str, Any] = {}
    account: str | None = None
    enable_auto_workbench_offload: bool | None = None


class ExecuteMetaRequest(msgspec.Struct, frozen=True):
    """A meta tool to run."""

    slug: str
    arguments: dict[str, Any] = {}


class SearchRequest(msgspec.Struct, frozen=True):
    """What tools are wanted for: `queries` of `{use_case}`."""

    queries: list[dict[str, Any]]
    model: str | None = None


class SessionExecuteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of a tool, also when it failed: then `result_type` and `error` say so."""

    data: msgspec.Struct | msgspec.Raw
    error: str | None
    log_id: str
    result_type: Literal["completed", "failed"]


class SessionProxyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of an API, whatever its status."""

    status: int
    data: msgspec.Raw
    headers: dict[str, str]
    result_type: Literal["completed"] = "completed"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a tool ended, whichever kind it is."""

    data: msgspec.Struct | msgspec.Raw
    error: str | None
    successful: bool
    log_id: str


def routes(prefix: str) -> APIRouter:
    """Make the routes."""
    made = Routes(prefix, "execution (Composio)", LeanRoute)
    made.add("POST", f"{SESSION}/execute", execute_in_session, "Run a tool in a session")
    made.add("POST", f"{SESSION}/execute_meta", execute_meta_in_session, "Run a meta tool in a session")
    made.add("POST", f"{SESSION}/search", search_in_session, "Find tools for use cases")
    made.add("POST", f"{SESSION}/proxy_execute", proxy_in_session, "Send one raw request to a toolkit's API")
    return made.router


async def execute_in_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Run a meta tool, or a tool of a toolkit. What runs is interrupted when the client closes its connection."""
    body = await read_object(request)
    slug, account = required_text(body, "tool_slug"), optional_text(body, "account")
    caller = Caller(owner, session_ref=session_id, offload=flag(body, "enable_auto_workbench_offload"))

    async def work() -> bytes:
        return _encoded(await run_tool(services, caller, slug, body.get("arguments"), account=account))

    return await services.once.answer(request, owner, work)


async def execute_meta_in_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Run a meta tool."""
    body = await read_object(request)
    tool = services.toolbox.find(required_text(body, "slug"))
    caller = Caller(owner, session_ref=session_id)

    async def work() -> bytes:
        return _encoded(ran(await tool.run(caller, _arguments(body.get("arguments")))))

    return await services.once.answer(request, owner, work)


async def search_in_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Find tools, as COMPOSIO_SEARCH_TOOLS does."""
    body = await read_object(request)
    wanted = {name: body[name] for name in ("queries", "model") if name in body}
    result = await services.toolbox.find(SEARCH).run(Caller(owner, session_ref=session_id), wanted)
    return json_response(result.data)


async def proxy_in_session(session_id: Ref, request: Request, owner: Owner, services: Given) -> Response:
    """Send one raw request to a toolkit's API, under the session's rules; the credential is added on the way."""
    asked = read_request(await read_object(request), at="")

    async def work() -> bytes:
        session = await services.manager.resolve(owner, session_id, None)
        structlog.contextvars.bind_contextvars(session=session.id)
        with services.gateway.holding():
            answer = await services.gateway.request(session, sent(asked))
            return encode(SessionProxyAnswer(status=answer.status, data=answer.data, headers=answer.headers))

    return await services.once.answer(request, owner, work)


async def run_tool(
    services: Services, caller: Caller, slug: str, arguments: object, *, account: str | None = None
) -> Ran:
    """Run a meta tool, or a tool of a toolkit, for whom `caller` says.

    Raises:
        ToolNotFound: there is no such tool.
        WorkbenchError: it could not be run.
    """
    tool = services.toolbox.get(slug)
    if tool is not None:
        return ran(await tool.run(caller, _arguments(arguments)))
    plain = slug.strip().upper()
    if plain.startswith(META_PREFIX) or not services.directory.has_tools:
        raise services.toolbox.unknown(slug)
    given = read_plain_arguments(arguments)
    session = await services.manager.resolve(caller.owner, caller.session_ref, caller.user_id)
    structlog.contextvars.bind_contextvars(session=session.id)
    return _ran_one(await services.one_tool.run(session, plain, given, account=account, offload=caller.offload))


def ran(result: ToolResult) -> Ran:
    """Give the result of a meta tool."""
    return Ran(result.data, result.error, result.successful, result.log_id)


def _ran_one(result: OneResult) -> Ran:
    data: msgspec.Raw | PreviewData = result.data
    return Ran(data, result.error, result.error is None, result.log_id)


def _encoded(result: Ran) -> bytes:
    return encode(
        SessionExecuteAnswer(
            data=result.data,
            error=result.error,
            log_id=result.log_id,
            result_type="completed" if result.successful else "failed",
        )
    )


def _arguments(given: object) -> object:
    return {} if given is None else given


def read_plain_arguments(given: object) -> dict[str, Any]:
    """Read the arguments of a tool whose schema is not ours. Raises `InvalidArguments`."""
    given = _arguments(given)
    if not isinstance(given, Mapping):
        raise invalid([FieldError("arguments", "Expected object")])
    return dict(given)
