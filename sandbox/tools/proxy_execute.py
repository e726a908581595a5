"""COMPOSIO_PROXY_EXECUTE: one raw request to a toolkit's own API, with its credential added on the way."""

import secrets
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec
import structlog

from sandbox.errors import FieldError
from sandbox.gateway.methods.proxy import ProxyArguments
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools.answers import note_of
from sandbox.tools.arguments import invalid, read_arguments
from sandbox.tools.base import Caller, MetaTool, SessionNote, ToolResult, session_of
from sandbox.upstreams.base import Method, ProxyAnswer


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of the request's query, or one of its headers."""

    name: str
    value: str | int | float | bool
    type: Literal["query", "header"] = "query"


class ProxyRequest(msgspec.Struct, frozen=True):
    """A request. `endpoint`: a path, or a URL of the toolkit's own host; `body`: any JSON."""

    toolkit_slug: str
    endpoint: str
    method: Method
    body: Any = None
    parameters: list[Parameter] = []
    session_id: str | None = None
    thought: str | None = None


class ProxyData(msgspec.Struct, frozen=True, kw_only=True):
    """What the API answered: its status, its body as JSON, its headers."""

    status: int
    data: msgspec.Raw
    headers: dict[str, str]
    session: SessionNote


class SendsRequests(Protocol):
    """The gateway, as this tool sees it."""

    async def request(self, session: Session, arguments: ProxyArguments) -> ProxyAnswer:
        """Send one raw request under the session's policy. Raises `WorkbenchError`."""


class ProxyTool(MetaTool):
    """Sends one request to the API of a toolkit as its user; the credential is added on the way."""

    slug = "COMPOSIO_PROXY_EXECUTE"
    arguments_type = ProxyRequest
    data_type = ProxyData

    def __init__(self, manager: SessionManager, gateway: SendsRequests) -> None:
        self._manager = manager
        self._gateway = gateway

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Send it. A status of 400 or more is a failure that has its answer. See `MetaTool.run`."""
        asked = read_request(arguments)
        session = await session_of(self._manager, caller, asked.session_id, self.slug)
        structlog.contextvars.bind_contextvars(session=session.id)
        answer = await self._gateway.request(session, sent(asked))
        error = f"The API answered with status {answer.status}" if answer.status >= 400 else None
        data = ProxyData(status=answer.status, data=answer.data, headers=answer.headers, session=note_of(session))
        return ToolResult(data=data, error=error, successful=error is None, log_id=f"log_{secrets.token_hex(8)}")


def read_request(given: object, *, at: str = "arguments.") -> ProxyRequest:
    """Read a request. Raises `InvalidArguments`, which lists every bad field."""
    asked = read_arguments(given, ProxyRequest, {"toolkit_slug": _not_empty, "endpoint": _not_empty}, at=at)
    if asked.method == "GET" and asked.body is not None:
        raise invalid([FieldError(f"{at}body", "A GET request has none")])
    return asked


def sent(asked: ProxyRequest) -> ProxyArguments:
    """Write a request as the gateway takes it."""
    return ProxyArguments(
        asked.method,
        asked.endpoint,
        asked.toolkit_slug,
        _pairs(asked.parameters, "query"),
        _pairs(asked.parameters, "header"),
        msgspec.Raw() if asked.body is None else msgspec.Raw(msgspec.json.encode(asked.body)),
    )


def _pairs(parameters: Sequence[Parameter], kind: str) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, _text(each.value)) for each in parameters if each.type == kind)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _not_empty(value: str) -> str | None:
    return None if value.strip() else "Must not be empty"
