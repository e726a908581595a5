"""Helper calls of a session: what its code asked for outside, and what came of it."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from sandbox.api.exact_route import ExactRoute
from sandbox.api.services import Given, Owner
from sandbox.api.wire import json_response
from sandbox.errors import NotFound
from sandbox.sessions.call_record import CallRecord
from sandbox.sessions.ids import is_helper_call_id

Word = Annotated[str | None, Query(max_length=100, pattern="^[A-Za-z0-9_]*$")]
"""Of the letters that ids and slugs have: not every text is one for a database."""


class CallItem(msgspec.Struct, frozen=True, kw_only=True):
    """One helper call. `helper`: what was called; `target`: a tool, a toolkit with method, host and path, a model.

    `status`: `ok`; `failed` (the upstream said so); `refused` (policy or budget); `cancelled`; else the slug of the
    error. `attempts`: how often the upstream was asked. `arguments`: JSON, when the server is set to keep it.
    """

    id: str
    session_id: str
    execution_id: str | None
    helper: str
    target: str
    status: str
    request_bytes: int
    answer_bytes: int
    attempts: int
    started_at: datetime
    duration_ms: float
    arguments: str | UnsetType = UNSET


class CallList(msgspec.Struct, frozen=True):
    """One page of calls, newest first. `next_cursor` is there when there may be more: pass it as `after`."""

    items: list[CallItem]
    next_cursor: str | UnsetType = UNSET


def call_routes() -> APIRouter:
    """Make the route."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=ExactRoute)
    router.add_api_route("/{ref}/calls", listing, methods=["GET"], summary="List the helper calls of a session")
    return router


async def listing(
    ref: str,
    owner: Owner,
    services: Given,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=100)] = None,
    execution_id: Word = None,
    status: Word = None,
) -> Response:
    """List a session's helper calls, newest first, a page at a time; those of one execution or status if named."""
    session = await services.manager.get(owner, ref)
    if after is not None and not is_helper_call_id(after):
        raise NotFound(f"no helper call {after!r} to go on from")
    found = await services.audit.of_session(
        session.id, limit=limit, after=after, execution_id=execution_id, status=status
    )
    more = found[-1].id if len(found) == limit else UNSET
    return json_response(CallList([_item(row) for row in found], more))


def _item(row: CallRecord) -> CallItem:
    return CallItem(
        id=row.id,
        session_id=row.session_id,
        execution_id=row.execution_id,
        helper=row.helper,
        target=row.target,
        status=row.status,
        request_bytes=row.request_bytes,
        answer_bytes=row.answer_bytes,
        attempts=row.attempts,
        started_at=row.started_at,
        duration_ms=row.duration_ms,
        arguments=row.arguments if row.arguments is not None else UNSET,
    )
