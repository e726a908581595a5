"""Sessions of the /v1 face: list, read, delete, interrupt, restart the kernel."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from sandbox.api.exact_route import ExactRoute
from sandbox.api.services import Given, Owner
from sandbox.api.wire import json_response, optional_text, read_object
from sandbox.errors import InvalidRequest
from sandbox.pipe.messages import Status
from sandbox.sessions.ids import SESSION_PREFIX
from sandbox.sessions.sandbox import SandboxStatus
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig, read_config

_CREATE_KEYS: Final = frozenset({"label", "user_id", "config"})


class SessionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A session as a list shows it. `label` is what the client calls it; `user_id` whose it was made for."""

    session_id: str
    label: str | None
    user_id: str | None
    created_at: datetime
    last_used_at: datetime | None


class KernelItem(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel and what is under way beside it: executions, bash calls, jobs left by earlier bash calls."""

    kernel: str
    running: int
    queued: int
    bash_running: int
    background_jobs: int
    memory_bytes: int | None
    memory_limit_bytes: int | None
    python: str


class SandboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """A session's sandbox. `age_s`: seconds since it was made or started again.

    `state`: `live`, `paused` (goes on where it was) or `stopped` (files kept); `status`: null unless it is live.
    """

    sandbox_id_suffix: str
    size: str
    state: str
    age_s: float
    status: KernelItem | None


class SessionDetail(SessionItem, frozen=True, kw_only=True):
    """A session, what its code may do, and its sandbox; null when it has none now."""

    config: SessionConfig
    sandbox: SandboxItem | None


class CreateSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session to make. Without `label` it is known by its id only; `config`: what its code may do."""

    label: str | None = None
    user_id: str | None = None
    config: SessionConfig | None = None


class SessionList(msgspec.Struct, frozen=True):
    """One page of sessions. `next_cursor` is there when there may be more: pass it as `after`."""

    items: list[SessionItem]
    next_cursor: str | UnsetType = UNSET


class Interrupted(msgspec.Struct, frozen=True):
    """How many executions were told to end."""

    interrupted: int


class Deleted(msgspec.Struct, frozen=True):
    """A session that is no more."""

    session_id: str
    deleted: bool = True


def session_routes() -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=ExactRoute)
    add = router.add_api_route
    add("", create, methods=["POST"], status_code=201, summary="Make a session, with rules for its code")
    add("", listing, methods=["GET"], summary="List sessions")
    add("/{ref}", read, methods=["GET"], summary="Read a session and how its sandbox is")
    add("/{ref}", delete, methods=["DELETE"], summary="Delete a session with its sandbox and files")
    add("/{ref}/interrupt", interrupt, methods=["POST"], summary="Interrupt what runs in a session")
    add("/{ref}/restart_kernel", restart_kernel, methods=["POST"], summary="Start a new kernel")
    return router


async def create(request: Request, owner: Owner, services: Given) -> Response:
    """Make a session; `config` says which toolkits, tools and helpers its code may use. 409: the label is taken."""
    body = await read_object(request)
    unknown = sorted(body.keys() - _CREATE_KEYS)
    if unknown:
        raise InvalidRequest(f"{unknown[0][:100]}: is not a key that is known ({', '.join(sorted(_CREATE_KEYS))})")
    label, user_id = optional_text(body, "label"), optional_text(body, "user_id")
    if label is not None and (not label or label.startswith(SESSION_PREFIX)):
        raise InvalidRequest(f"label: must not be empty or begin with {SESSION_PREFIX}")
    config = read_config(body["config"]) if body.get("config") is not None else None
    session = await services.manager.create(owner, label=label, user_id=user_id, config=config)
    return json_response(_detail(session, None), status_code=201)


async def listing(
    owner: Owner,
    services: Given,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(max_length=100, description="The public contract's name of `after`.")] = None,
) -> Response:
    """List the key's sessions, a page at a time."""
    sessions = await services.manager.list(owner, limit=limit, after=after or cursor)
    more = sessions[-1].id if len(sessions) == limit else UNSET
    return json_response(SessionList([session_item(session) for session in sessions], more))


async def read(ref: str, owner: Owner, services: Given) -> Response:
    """Read a session and how its sandbox is."""
    session = await services.manager.get(owner, ref)
    status = await services.manager.status(session)
    return json_response(_detail(session, status))


async def delete(ref: str, owner: Owner, services: Given) -> Response:
    """Delete a session; its sandbox and all files in it are removed."""
    session = await services.manager.get(owner, ref)
    await services.manager.delete(owner, session.id)
    return json_response(Deleted(session.id))


async def interrupt(ref: str, owner: Owner, services: Given) -> Response:
    """Interrupt all that runs or waits in a session; variables and files stay."""
    session = await services.manager.get(owner, ref)
    return json_response(Interrupted(await services.manager.interrupt(session)))


async def restart_kernel(ref: str, owner: Owner, services: Given) -> Response:
    """Kill the kernel and start a new one: variables are lost, files are kept."""
    session = await services.manager.get(owner, ref)
    return json_response(_kernel_item(await services.manager.restart_kernel(session)))


def session_item(session: Session) -> SessionItem:
    """Compose what the wire says of a session."""
    return SessionItem(
        session_id=session.id,
        label=session.label,
        user_id=session.user_id,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
    )


def _detail(session: Session, status: SandboxStatus | None) -> SessionDetail:
    sandbox = _sandbox_item(status) if status is not None else None
    item = msgspec.structs.asdict(session_item(session))
    return SessionDetail(**item, config=read_config(session.config), sandbox=sandbox)


def _sandbox_item(status: SandboxStatus) -> SandboxItem:
    return SandboxItem(
        sandbox_id_suffix=status.suffix,
        size=status.size,
        state=status.state,
        age_s=round(status.age_s, 3),
        status=_kernel_item(status.agent) if status.agent is not None else None,
    )


def _kernel_item(status: Status) -> KernelItem:
    return KernelItem(
        kernel=status.kernel.value,
        running=status.running,
        queued=status.queued,
        bash_running=status.bash_running,
        background_jobs=status.background_jobs,
        memory_bytes=status.memory_bytes,
        memory_limit_bytes=status.memory_limit_bytes,
        python=status.python,
    )
