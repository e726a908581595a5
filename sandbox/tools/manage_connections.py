"""COMPOSIO_MANAGE_CONNECTIONS: whether toolkits can be used, and what has to be configured where not.

Connections to what is configured here are made by the server itself; toolkits that are not here are the backend's.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from sandbox.errors import NotFound, UpstreamInvalid, WorkbenchError
from sandbox.gateway.directory import Directory
from sandbox.gateway.policy import normal_toolkit
from sandbox.gateway.standing import Kind, Standing, State, how_to_add, near
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools.answers import AsksOutside, answered, note_of, words_of
from sandbox.tools.arguments import read_arguments
from sandbox.tools.base import Caller, MetaTool, SessionNote, ToolResult, session_of
from sandbox.upstreams.base import ToolAnswer

TOOLKITS_MAX: Final = 50
_NAME_CHARS: Final = 100
_TIMEOUT_S: Final = 60.0


class ManageConnectionsArguments(msgspec.Struct, frozen=True):
    """`reinitiate_all`: try the connections again also where they are there."""

    toolkits: Annotated[list[str], msgspec.Meta(min_length=1, max_length=TOOLKITS_MAX)]
    reinitiate_all: bool = False
    session_id: str | None = None
    thought: str | None = None


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How one toolkit stands. `instruction`: what to do next; `redirect_url`: where a person gives access."""

    toolkit: str
    status: str
    has_active_connection: bool
    instruction: str | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    redirect_url: str | UnsetType = UNSET
    connected_account_id: str | UnsetType = UNSET
    current_user_info: Any | UnsetType = UNSET


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each."""

    total_toolkits: int
    active_connections: int
    initiated_connections: int
    failed_connections: int


class ManageConnectionsData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer, by toolkit as it was asked for."""

    message: str
    results: dict[str, Connection]
    summary: Summary
    session: SessionNote


class _BackendConnections(msgspec.Struct):
    results: dict[str, dict[str, Any]]


class ManageConnectionsTool(MetaTool):
    """Looks at connections, and makes the server try again those that are not there."""

    slug = "COMPOSIO_MANAGE_CONNECTIONS"
    arguments_type: ClassVar[type[msgspec.Struct]] = ManageConnectionsArguments
    data_type = ManageConnectionsData

    def __init__(self, manager: SessionManager, directory: Directory, gateway: AsksOutside) -> None:
        self._manager = manager
        self._directory = directory
        self._gateway = gateway

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Look. A toolkit that is not connected is an answer and no failure."""
        asked = read_arguments(with_names(arguments), ManageConnectionsArguments, {"toolkits": check_names})
        session = await session_of(self._manager, caller, asked.session_id, self.slug)
        structlog.contextvars.bind_contextvars(session=session.id)
        names = list(dict.fromkeys(map(normal_toolkit, asked.toolkits)))
        return await self._looked_at(session, names, again=asked.reinitiate_all)

    async def _looked_at(
        self, session: Session, names: Sequence[str], *, again: bool = False, wait_s: float | None = None
    ) -> ToolResult:
        """Say how they stand. `again`, `wait_s`: as `Directory.connect`."""
        standings = await self._directory.connect(session, names, again=again, wait_s=wait_s)
        by_name = {normal_toolkit(name): standing for name, standing in standings.items()}
        results = {name: connection_of(name, by_name[name]) for name in names if name in by_name}
        allowed = [name for name in names if name not in results and self._directory.refusal(session, name) is None]
        theirs = await self._theirs(session, allowed, again=again) if allowed else {}
        for name in names:
            if name not in results:
                results[name] = theirs.get(name) or self._unknown(session, name, sorted(standings))
        return answered(_data(session, {name: results[name] for name in names}))

    def _unknown(self, session: Session, name: str, known: Sequence[str]) -> Connection:
        refused = self._directory.refusal(session, name)
        if refused is not None:
            return _failed(name, refused.message, refused.suggested_fix or "")
        like = near(name, known)
        meant = f" Did you mean {' or '.join(like)}?" if like else ""
        words = f"There is no toolkit {name}; there are: {', '.join(known) or 'none'}.{meant}"
        return _failed(name, words, how_to_add(name))

    async def _theirs(self, session: Session, names: Sequence[str], *, again: bool) -> dict[str, Connection]:
        """Ask the backend for those that are not here."""
        if not self._directory.has_backend:
            return {}
        arguments = {"toolkits": list(names), "reinitiate_all": again}
        try:
            answer = await self._gateway.forward(session, self.slug, arguments, timeout_s=_TIMEOUT_S)
            found = _read(answer)
        except NotFound:
            return {}
        except WorkbenchError as error:
            return {name: _failed(name, words_of(error), "Try again later.") for name in names}
        plain = {normal_toolkit(name): said for name, said in found.items()}
        return {name: _converted(name, plain[name]) for name in names if name in plain}


def connection_of(name: str, standing: Standing) -> Connection:
    """Write how a toolkit of ours stands."""
    ready = "Use it now." if standing.kind is Kind.PROXY else "Its tools can be called now."
    instruction = standing.fix or ready
    failed = standing.state is State.FAILED
    return Connection(
        toolkit=name,
        status=standing.state.value,
        has_active_connection=standing.active,
        instruction=instruction if failed else f"{standing.words} {instruction}",
        error_message=standing.words if failed else UNSET,
    )


def with_names(arguments: object) -> object:
    """Give the names of toolkits that newer callers write as objects."""
    if not isinstance(arguments, dict) or not isinstance(arguments.get("toolkits"), list):
        return arguments
    return {**arguments, "toolkits": [_name_of(one) for one in arguments["toolkits"]]}


def _name_of(one: object) -> object:
    return next((one[key] for key in ("name", "toolkit", "slug") if key in one), one) if isinstance(one, dict) else one


def check_names(toolkits: list[str]) -> str | None:
    """Say what is wrong with names of toolkits; None: nothing."""
    if all(0 < len(name.strip()) <= _NAME_CHARS and name.isprintable() for name in toolkits):
        return None
    return f"Expected names of toolkits, of 1 to {_NAME_CHARS} characters"


def _failed(name: str, words: str, instruction: str) -> Connection:
    return Connection(
        toolkit=name,
        status=State.FAILED.value,
        has_active_connection=False,
        instruction=instruction,
        error_message=words,
    )


def _read(answer: ToolAnswer) -> dict[str, dict[str, Any]]:
    if answer.error is not None:
        raise UpstreamInvalid(f"the tool backend could not say: {answer.error}")
    try:
        return msgspec.json.decode(answer.data, type=_BackendConnections).results
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamInvalid(f"the tool backend answered with something else: {error}") from None


def _converted(name: str, said: dict[str, Any]) -> Connection:
    status = said.get("status")
    plain = {key: value for key, value in said.items() if value is not None}
    plain = {"status": State.FAILED.value, "has_active_connection": status == State.ACTIVE.value, **plain}
    try:
        return msgspec.convert({**plain, "toolkit": name}, Connection)
    except msgspec.ValidationError as error:
        return _failed(name, f"the tool backend answered with something else: {error}", "Try again later.")


def _data(session: Session, results: Mapping[str, Connection]) -> ManageConnectionsData:
    active = sum(one.has_active_connection for one in results.values())
    initiated = sum(one.status == State.INITIATED.value and not one.has_active_connection for one in results.values())
    failed = len(results) - active - initiated
    counts = {"active": active, "initiated": initiated, "failed": failed}
    return ManageConnectionsData(
        message=", ".join(f"{count} {word}" for word, count in counts.items() if count),
        results=dict(results),
        summary=Summary(
            total_toolkits=len(results),
            active_connections=active,
            initiated_connections=initiated,
            failed_connections=failed,
        ),
        session=note_of(session),
    )
