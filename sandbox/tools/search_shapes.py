"""What COMPOSIO_SEARCH_TOOLS takes and answers."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from sandbox.tools.advice import Snippet
from sandbox.tools.get_schemas import ToolSchema

QUERIES_MAX: Final = 7
USE_CASE_CHARS: Final = 10_000


class Query(msgspec.Struct, frozen=True):
    """One thing to do. `known_fields`: `name: value` pairs of what is known already."""

    use_case: str
    known_fields: str | None = None


class SessionWish(msgspec.Struct, frozen=True):
    """Which session: `id` or label of one, or a new one."""

    id: str | None = None
    generate_id: bool = False


class SearchArguments(msgspec.Struct, frozen=True):
    """Arguments of all generations; `toolkits`: search only in these. The model's name changes nothing."""

    queries: Annotated[list[Query], msgspec.Meta(min_length=1, max_length=QUERIES_MAX)]
    session: SessionWish | None = None
    session_id: str | None = None
    toolkits: list[str] | None = None
    model: str | None = None
    exploratory: Any = None
    thought: str | None = None


class QueryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one use case; `index` counts from 1."""

    index: int
    use_case: str
    primary_tool_slugs: list[str]
    related_tool_slugs: list[str]
    toolkits: list[str]
    recommended_plan_steps: list[str]
    known_pitfalls: list[str]
    reference_workbench_snippets: list[Snippet]


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a toolkit can be used now. `description`: what it is, as far as that is known."""

    toolkit: str
    description: str = ""
    has_active_connection: bool
    status_message: str
    connection_details: Any | UnsetType = UNSET
    current_user_info: Any | UnsetType = UNSET


class TimeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The server's clock, for tasks that speak of today."""

    current_time_utc: str
    current_time_utc_epoch_seconds: int
    message: str = "The server's clock. Count from it what is said of today, tomorrow or last week."


class SearchSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session that was searched for; `generate_id` as the request had it."""

    id: str
    generate_id: bool
    instructions: str


class SearchData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer. `error`: also beside results, when the backend could not be asked."""

    success: bool
    error: str | None
    results: list[QueryResult]
    tool_schemas: dict[str, ToolSchema]
    toolkit_connection_statuses: list[ConnectionStatus]
    time_info: TimeInfo
    session: SearchSession
    next_steps_guidance: list[str]


def with_queries(arguments: object) -> object:
    """Give the arguments of all callers in one form: some name a single use case, some write text for objects."""
    if not isinstance(arguments, dict):
        return arguments
    plain: dict[str, Any] = dict(arguments)
    text = plain.get("use_case") or plain.get("query")
    if "queries" not in plain and isinstance(text, str):
        plain["queries"] = [{"use_case": text, "known_fields": plain.get("known_fields")}]
    if isinstance(plain.get("queries"), list):
        plain["queries"] = [_query(one) for one in plain["queries"]]
    if isinstance(plain.get("session"), str):
        plain["session"] = {"id": plain["session"]}
    return plain


def _query(one: object) -> object:
    if isinstance(one, str):
        return {"use_case": one}
    return with_known_text(one)


def with_known_text(arguments: object) -> object:
    """Write `known_fields` as text where it came as an object or a list."""
    if not isinstance(arguments, dict):
        return arguments
    fields = arguments.get("known_fields")
    if isinstance(fields, dict):
        return {**arguments, "known_fields": ", ".join(f"{name}: {value}" for name, value in fields.items())}
    if isinstance(fields, list):
        return {**arguments, "known_fields": ", ".join(map(str, fields))}
    return arguments


def check_queries(queries: list[Query]) -> str | None:
    """Say what is wrong with the use cases; None: nothing."""
    for number, query in enumerate(queries, 1):
        if not query.use_case.strip():
            return f"Expected words in `use_case` of query {number}"
        if len(query.use_case) > USE_CASE_CHARS:
            return f"Expected at most {USE_CASE_CHARS:,} characters in `use_case` of query {number}"
    return None


def names_in(known_fields: str | None) -> list[str]:
    """Give the names of what is known, of `name: value, name: value`."""
    return [pair.partition(":")[0].strip() for pair in (known_fields or "").split(",") if ":" in pair]
