"""Executions of the /v1 face: start one without waiting, ask how it is, follow it live."""

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from msgspec import UNSET, UnsetType
from starlette.responses import Response, StreamingResponse

from sandbox.api.errors import ErrorBody, error_body, request_id_of
from sandbox.api.events import event_stream
from sandbox.api.exact_route import ExactRoute
from sandbox.api.services import Given, Owner, Services
from sandbox.api.wire import json_response, read_object
from sandbox.errors import FieldError
from sandbox.metrics import Metrics
from sandbox.sessions.execution import Execution, Kind
from sandbox.tools.arguments import invalid, read_arguments
from sandbox.tools.base import Asked, Caller

_EVENT_ID: Final = re.compile(r"[0-9]{1,18}")


class StartRequest(msgspec.Struct, frozen=True):
    """What to run: `code` (Python) or `command` (bash), and for how many seconds at most."""

    code: str | None = None
    command: str | None = None
    timeout: int | float | None = None


class ExecutionItem(msgspec.Struct, frozen=True, kw_only=True):
    """How an execution is. `error` and `data` are there when it has ended, as in the answer of the tool.

    `failure` is there instead when it could not run at all.
    """

    execution_id: str
    session_id: str
    kind: Kind
    state: str
    created_at: datetime
    timeout: float
    successful: bool | UnsetType = UNSET
    error: str | UnsetType | None = UNSET
    data: msgspec.Struct | UnsetType = UNSET
    failure: ErrorBody | UnsetType = UNSET


class ExecutionList(msgspec.Struct, frozen=True):
    """The session's recent executions, newest first."""

    items: list[ExecutionItem]


def execution_routes() -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1", tags=["executions"], route_class=ExactRoute)
    add = router.add_api_route
    add("/sessions/{ref}/executions", start, methods=["POST"], status_code=202, summary="Start an execution")
    add("/sessions/{ref}/executions", recent, methods=["GET"], summary="List recent executions")
    add("/executions/{execution_id}", read, methods=["GET"], summary="Read an execution and its result")
    stop = "/executions/{execution_id}/interrupt"
    add(stop, interrupt, methods=["POST"], status_code=202, summary="Interrupt one execution")
    add("/executions/{execution_id}/events", events, methods=["GET"], summary="Follow an execution live")
    return router


async def start(ref: Annotated[str, Path(max_length=500)], request: Request, owner: Owner, services: Given) -> Response:
    """Start Python (`code`) or bash (`command`) and answer at once. `ref` is a session's id or any label."""
    body = await read_object(request)
    field = "command" if body.get("command") is not None else "code"
    tool = services.toolbox.of_kind("bash" if field == "command" else "python")
    asked = read_arguments(body, StartRequest, tool.checks, at="")
    if asked.code is not None and asked.command is not None:
        raise invalid([FieldError("command", "Only one of code and command may be given")])
    source = asked.command if field == "command" else asked.code
    if source is None:
        raise invalid([FieldError("code", "Required (or command)")])
    execution = await tool.start(Caller(owner), Asked(source, ref, asked.timeout))
    return json_response(execution_item(execution, services, request), status_code=202)


async def recent(ref: str, request: Request, owner: Owner, services: Given) -> Response:
    """List the session's recent executions, newest first."""
    session = await services.manager.get(owner, ref)
    found = await services.manager.executions(session)
    return json_response(ExecutionList([execution_item(each, services, request) for each in found]))


async def read(execution_id: str, request: Request, owner: Owner, services: Given) -> Response:
    """Say how an execution is; when it has ended, with its result."""
    execution = await services.manager.execution(owner, execution_id)
    return json_response(execution_item(execution, services, request))


async def interrupt(execution_id: str, request: Request, owner: Owner, services: Given) -> Response:
    """Ask an execution to end now. What has ended stays as it is."""
    execution = await services.manager.execution(owner, execution_id)
    execution.interrupt()
    return json_response(execution_item(execution, services, request), status_code=202)


async def events(
    execution_id: str,
    request: Request,
    owner: Owner,
    services: Given,
    *,
    after: Annotated[int, Query(ge=0, description="Number of the last event already seen.")] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Follow an execution by server-sent events: started, output, output_cut, artifact, action, helper_call, ended.

    `helper_call` is the last of the helper calls that ended since the one before, with the number of `calls` and how
    many of them `failed`; it has the id of the event before it and is not said again to who resumes.
    Resumes after the event that `Last-Event-ID` or `after` names, and closes after `ended`.
    """
    execution = await services.manager.execution(owner, execution_id)
    seen = int(last_event_id) if last_event_id and _EVENT_ID.fullmatch(last_event_id) else after

    def ended() -> ExecutionItem:
        return execution_item(execution, services, request)

    return StreamingResponse(
        _counted(event_stream(execution, seen, ended), services.metrics),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _counted(stream: AsyncGenerator[bytes, None], metrics: Metrics) -> AsyncIterator[bytes]:
    """Give the stream, whose client counts as a follower for as long as it is read."""
    metrics.followers(1)
    try:
        async with contextlib.aclosing(stream):
            async for piece in stream:
                yield piece
    finally:
        metrics.followers(-1)


def execution_item(execution: Execution, services: Services, request: Request) -> ExecutionItem:
    """Compose what the wire says of an execution."""
    result = services.toolbox.present(execution, execution.result) if execution.result else None
    failure = error_body(execution.error, request_id_of(request)) if execution.error else UNSET
    return ExecutionItem(
        execution_id=execution.id,
        session_id=execution.session_id,
        kind=execution.kind,
        state=execution.state.value,
        created_at=execution.created_at,
        timeout=execution.timeout_s,
        successful=result.successful if result else UNSET,
        error=result.error if result else UNSET,
        data=result.data if result else UNSET,
        failure=failure,
    )
