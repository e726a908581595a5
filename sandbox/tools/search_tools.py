"""COMPOSIO_SEARCH_TOOLS: which tools there are for what an agent wants to do, and how to use them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from sandbox.errors import WorkbenchError
from sandbox.gateway.directory import Directory, UseCase
from sandbox.gateway.policy import normal_toolkit
from sandbox.gateway.standing import Standing
from sandbox.gateway.tool_index import Hit
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools import advice
from sandbox.tools.answers import AsksOutside, answered, note_of, words_of
from sandbox.tools.arguments import read_arguments
from sandbox.tools.backend_search import TIMEOUT_S, BackendFound, asked_of_backend, merged, read_found
from sandbox.tools.base import Caller, MetaTool, ToolResult, session_of
from sandbox.tools.get_schemas import ToolSchema, referred, whole
from sandbox.tools.search_shapes import (
    ConnectionStatus,
    Query,
    QueryResult,
    SearchArguments,
    SearchData,
    SearchSession,
    TimeInfo,
    check_queries,
    names_in,
    with_queries,
)
from sandbox.upstreams.base import ToolInfo

log = structlog.get_logger(__name__)

HITS_MAX: Final = 8
PRIMARY_MAX: Final = 3

_NEAR_TOP: Final = 0.6
"""Of the best tool's score: what is that good is offered beside it."""

_RELATED: Final = 0.25
_SCHEMA_CHARS: Final = 8_000
_RELATED_SCHEMA_CHARS: Final = 2_000
_DESCRIPTION_CHARS: Final = 1_500


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What of the hits of one query is shown. `apis`: toolkits without tools."""

    query: Query
    primary: list[ToolInfo]
    related: list[ToolInfo]
    apis: list[str]

    @property
    def toolkits(self) -> list[str]:
        """All that are named, the best first."""
        return list(dict.fromkeys([*(tool.toolkit for tool in (*self.primary, *self.related)), *self.apis]))


class SearchTool(MetaTool):
    """Searches the directory, and the backend where there is one."""

    slug = "COMPOSIO_SEARCH_TOOLS"
    arguments_type = SearchArguments
    data_type = SearchData

    def __init__(self, manager: SessionManager, directory: Directory, gateway: AsksOutside) -> None:
        self._manager = manager
        self._directory = directory
        self._gateway = gateway

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Search. A backend that fails is told beside what is found here."""
        asked = read_arguments(with_queries(arguments), SearchArguments, {"queries": check_queries})
        session = await self._session(caller, asked)
        structlog.contextvars.bind_contextvars(session=session.id)
        self._directory.has_sandbox(session)  # raises what a configuration that cannot be read does
        async with asyncio.TaskGroup() as group:
            searching = group.create_task(self._ours(session, asked))
            asking = group.create_task(self._theirs(session, asked))
        ours, theirs = searching.result(), asking.result()
        if isinstance(theirs, BackendFound):
            ours = merged(ours, theirs, lambda slug: self._directory.may_run(session, slug))
        elif theirs is not None:
            ours = msgspec.structs.replace(ours, error=f"Only what is configured here was searched: {theirs}")
        return answered(msgspec.structs.replace(ours, next_steps_guidance=_guidance(ours)))

    async def _session(self, caller: Caller, asked: SearchArguments) -> Session:
        named = (asked.session.id if asked.session is not None else None) or asked.session_id
        wants_new = asked.session is not None and asked.session.generate_id
        if wants_new and not named and caller.session_ref is None:
            return await self._manager.create(caller.owner, user_id=caller.user_id)
        return await session_of(self._manager, caller, named, self.slug)

    async def _theirs(self, session: Session, asked: SearchArguments) -> BackendFound | str | None:
        """Ask the backend; a text says why that failed."""
        if not self._directory.has_backend:
            return None
        try:
            answer = await self._gateway.forward(session, self.slug, asked_of_backend(asked), timeout_s=TIMEOUT_S)
            return read_found(answer)
        except WorkbenchError as error:
            log.warning("the backend could not search", error=error.message)
            return words_of(error)

    async def _ours(self, session: Session, asked: SearchArguments) -> SearchData:
        toolkits = frozenset(map(normal_toolkit, asked.toolkits)) if asked.toolkits else None
        cases = [UseCase(query.use_case, query.known_fields or "", toolkits) for query in asked.queries]
        found = await self._directory.search(session, cases, limit=HITS_MAX)
        standings = await self._directory.standings(session)
        chosen = [_choose(query, hits) for query, hits in zip(asked.queries, found, strict=True)]
        schemas = _schemas(chosen)
        sandbox = self._directory.has_sandbox(session)
        return SearchData(
            success=True,
            error=None,
            results=[_result(number, one, schemas, standings, sandbox) for number, one in enumerate(chosen, 1)],
            tool_schemas=schemas,
            toolkit_connection_statuses=_statuses(chosen, standings),
            time_info=_time_info(datetime.now(UTC)),
            session=_session_item(session, asked),
            next_steps_guidance=[],
        )


def _choose(query: Query, hits: Sequence[Hit]) -> _Chosen:
    best = hits[0].score if hits and hits[0].fits else float("inf")
    first = [hit for hit in hits if hit.fits and hit.score >= _NEAR_TOP * best]
    primary = [hit.entry.tool for hit in first if hit.entry.tool is not None][:PRIMARY_MAX]
    least = _RELATED * hits[0].score if hits else 0.0
    others = [hit.entry.tool for hit in hits if hit.entry.tool is not None and (hit.fits or hit.score >= least)]
    related = [tool for tool in others if tool not in primary]
    return _Chosen(query, primary, related, [hit.entry.toolkit for hit in hits if hit.entry.tool is None and hit.fits])


def _schemas(chosen: Sequence[_Chosen]) -> dict[str, ToolSchema]:
    """Give each tool once; that of a primary one with its schema unless that is very large."""
    schemas: dict[str, ToolSchema] = {}
    for most, tools in (
        (_SCHEMA_CHARS, [tool for one in chosen for tool in one.primary]),
        (_RELATED_SCHEMA_CHARS, [tool for one in chosen for tool in one.related]),
    ):
        for tool in tools:
            if tool.slug not in schemas:
                schemas[tool.slug] = _schema(tool, most)
    return schemas


def _schema(tool: ToolInfo, most: int) -> ToolSchema:
    said = tool.description
    described = said if len(said) <= _DESCRIPTION_CHARS else f"{said[:_DESCRIPTION_CHARS]}…"
    if len(msgspec.json.encode(tool.input_schema)) > most:
        return referred(tool, described)
    return msgspec.structs.replace(whole(tool), description=described)


def _result(
    number: int, one: _Chosen, schemas: dict[str, ToolSchema], standings: dict[str, Standing], sandbox: bool
) -> QueryResult:
    findings = advice.Findings(
        primary=one.primary,
        apis=one.apis,
        standings=standings,
        by_reference=[tool.slug for tool in one.primary if not schemas[tool.slug].has_full_schema],
        known=names_in(one.query.known_fields),
        sandbox=sandbox,
    )
    return QueryResult(
        index=number,
        use_case=one.query.use_case,
        primary_tool_slugs=[tool.slug for tool in one.primary],
        related_tool_slugs=[tool.slug for tool in one.related],
        toolkits=one.toolkits,
        recommended_plan_steps=advice.steps(findings),
        known_pitfalls=advice.pitfalls(findings),
        reference_workbench_snippets=list(advice.snippets(findings)),
    )


def _statuses(chosen: Sequence[_Chosen], standings: dict[str, Standing]) -> list[ConnectionStatus]:
    """Say it of toolkits that were found, and of those that are not there: what they have could not be searched."""
    found = [kit for one in chosen for kit in one.toolkits]
    absent = [name for name, standing in standings.items() if not standing.active and not standing.tools]
    return [
        ConnectionStatus(
            toolkit=kit,
            description=standings[kit].words,
            has_active_connection=standings[kit].active,
            status_message=advice.status_words(standings[kit]),
        )
        for kit in dict.fromkeys([*found, *absent])
        if kit in standings
    ]


def _session_item(session: Session, asked: SearchArguments) -> SearchSession:
    note = note_of(session)
    wished = asked.session is not None and asked.session.generate_id
    return SearchSession(id=note.id, generate_id=wished, instructions=note.instructions)


def _time_info(now: datetime) -> TimeInfo:
    return TimeInfo(
        current_time_utc=now.strftime("%Y-%m-%dT%H:%M:%SZ"), current_time_utc_epoch_seconds=int(now.timestamp())
    )


def _guidance(data: SearchData) -> list[str]:
    """Say what to do next, over all queries."""
    lines = []
    lost = [str(result.index) for result in data.results if not result.primary_tool_slugs and not result.toolkits]
    if lost:
        lines.append(
            f"Nothing here fits query {', '.join(lost)}: say it in other words, or name the service; what no tool "
            "does may be done with Python, proxy_execute or web_search in COMPOSIO_REMOTE_WORKBENCH."
        )
    absent = [status.toolkit for status in data.toolkit_connection_statuses if not status.has_active_connection]
    if absent:
        lines.append(f"Not connected: {', '.join(absent)}. COMPOSIO_MANAGE_CONNECTIONS says what to do.")
    if any(not schema.has_full_schema for schema in data.tool_schemas.values()):
        lines.append("Get the schemas that are only referred to (schemaRef) with COMPOSIO_GET_TOOL_SCHEMAS.")
    if data.tool_schemas:
        lines.append("Run tools with COMPOSIO_MULTI_EXECUTE_TOOL, with arguments as their schemas say.")
    return lines
