"""What a backend finds beside what is configured here: its answer, read with care, and laid behind ours."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sandbox.errors import UpstreamInvalid
from sandbox.tools.advice import Snippet
from sandbox.tools.get_schemas import ToolSchema
from sandbox.tools.search_shapes import ConnectionStatus, QueryResult, SearchArguments, SearchData
from sandbox.upstreams.base import ToolAnswer

TIMEOUT_S: Final = 30.0
"""Seconds for which a search waits for the backend's part."""


class _Result(msgspec.Struct):
    primary_tool_slugs: list[str] = []
    related_tool_slugs: list[str] = []
    toolkits: list[str] = []
    recommended_plan_steps: list[str] = []
    known_pitfalls: list[str] = []
    reference_workbench_snippets: list[Any] = []


class BackendFound(msgspec.Struct):
    """What of a backend's answer is read; the rest is its own affair."""

    results: list[_Result] = []
    tool_schemas: dict[str, dict[str, Any]] = {}
    toolkit_connection_statuses: list[dict[str, Any]] = []


def asked_of_backend(asked: SearchArguments) -> dict[str, Any]:
    """Give the arguments for it. A session of ours is none of its own: each search is a new one there."""
    queries = [{"use_case": query.use_case, "known_fields": query.known_fields or ""} for query in asked.queries]
    model = {"model": asked.model} if asked.model else {}
    return {"queries": queries, "session": {"generate_id": True}, **model}


def read_found(answer: ToolAnswer) -> BackendFound:
    """Read its answer.

    Raises:
        UpstreamInvalid: it is none, or says that the search failed.
    """
    if answer.error is not None:
        raise UpstreamInvalid(f"the tool backend could not search: {answer.error}")
    try:
        return msgspec.json.decode(answer.data, type=BackendFound)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamInvalid(f"the tool backend answered a search with something else: {error}") from None


def merged(ours: SearchData, theirs: BackendFound, may_run: Callable[[str], bool]) -> SearchData:
    """Lay what the backend found behind ours. `may_run`: whether the session may run a tool."""
    known = {status.toolkit for status in ours.toolkit_connection_statuses}
    results = [
        _with_theirs(result, theirs.results[place], may_run) if place < len(theirs.results) else result
        for place, result in enumerate(ours.results)
    ]
    named = {slug for result in results for slug in (*result.primary_tool_slugs, *result.related_tool_slugs)}
    schemas = {slug: _schema(slug, said) for slug, said in theirs.tool_schemas.items() if slug in named}
    toolkits = {kit for result in results for kit in result.toolkits}
    statuses = [
        status
        for said in theirs.toolkit_connection_statuses
        if (status := _status(said)).toolkit in toolkits and status.toolkit not in known
    ]
    return msgspec.structs.replace(
        ours,
        results=results,
        tool_schemas={**schemas, **ours.tool_schemas},
        toolkit_connection_statuses=[*ours.toolkit_connection_statuses, *statuses],
    )


def _with_theirs(ours: QueryResult, theirs: _Result, may_run: Callable[[str], bool]) -> QueryResult:
    primary = [slug for slug in theirs.primary_tool_slugs if may_run(slug)]
    related = [slug for slug in theirs.related_tool_slugs if may_run(slug)]
    if not primary and not related:
        return ours
    toolkits = [kit for kit in theirs.toolkits if any(_is_of(slug, kit) for slug in (*primary, *related))]
    first = _joined(ours.primary_tool_slugs, primary)
    # Steps of a search that found what this session may not run would lead there.
    whole = len(primary) == len(theirs.primary_tool_slugs)
    return msgspec.structs.replace(
        ours,
        primary_tool_slugs=first,
        related_tool_slugs=[slug for slug in _joined(ours.related_tool_slugs, related) if slug not in first],
        toolkits=_joined(ours.toolkits, toolkits),
        recommended_plan_steps=_joined(ours.recommended_plan_steps, theirs.recommended_plan_steps if whole else []),
        known_pitfalls=_joined(ours.known_pitfalls, theirs.known_pitfalls if whole else []),
        reference_workbench_snippets=[*ours.reference_workbench_snippets, *_snippets(theirs, whole=whole)],
    )


def _snippets(theirs: _Result, *, whole: bool) -> list[Snippet]:
    return [_snippet(one) for one in theirs.reference_workbench_snippets] if whole else []


def _snippet(said: Any) -> Snippet:
    """Read one, whose form is nowhere promised: what is neither a snippet nor text is given as JSON."""
    try:
        return msgspec.convert(said, Snippet)
    except msgspec.ValidationError:
        return Snippet("", said if isinstance(said, str) else msgspec.json.encode(said).decode())


def _is_of(slug: str, toolkit: str) -> bool:
    return slug.upper().startswith(f"{toolkit.upper().replace('-', '_')}_")


def _joined(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys((*first, *second)))


def _schema(slug: str, said: dict[str, Any]) -> ToolSchema:
    plain = {"toolkit": "", "description": "", **said, "tool_slug": slug}
    try:
        return msgspec.convert(plain, ToolSchema)
    except msgspec.ValidationError:
        return ToolSchema(toolkit="", tool_slug=slug, description="", has_full_schema=False)


def _status(said: dict[str, Any]) -> ConnectionStatus:
    plain = {"toolkit": "", "has_active_connection": False, "status_message": "", **said}
    try:
        return msgspec.convert(plain, ConnectionStatus)
    except msgspec.ValidationError:
        return ConnectionStatus(toolkit="", has_active_connection=False, status_message="")
