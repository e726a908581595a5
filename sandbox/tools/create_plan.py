"""COMPOSIO_CREATE_PLAN: a plan of steps for a task; by the backend where it has that tool, else by the model."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import structlog

from sandbox.errors import InvalidArguments, NotFound, UpstreamInvalid, UpstreamNotConfigured
from sandbox.gateway.directory import Directory, UseCase
from sandbox.gateway.policy import normal_slug
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools.answers import AsksOutside, answered, note_of
from sandbox.tools.arguments import read_arguments
from sandbox.tools.base import Caller, MetaTool, SessionNote, ToolResult, session_of
from sandbox.tools.plans import CODE_TOOLS, BadPlan, Plan, question, read_plan
from sandbox.tools.search_shapes import USE_CASE_CHARS, with_known_text
from sandbox.upstreams.base import ToolInfo

TOOLS_MAX: Final = 20
_FOUND_MAX: Final = 8
_KNOWN_CHARS: Final = 10_000
_HELPER: Final = "create_plan"


class CreatePlanArguments(msgspec.Struct, frozen=True):
    """`primary_tool_slugs`, `related_tool_slugs`: as a search gave them; others are looked for by the use case."""

    use_case: str
    primary_tool_slugs: list[str] | None = None
    related_tool_slugs: list[str] | None = None
    known_fields: str | None = None
    difficulty: str | None = None
    reasoning: str | None = None
    session_id: str | None = None
    thought: str | None = None


class CreatePlanData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer. `plan`: as `Plan` where `source` is the model, in its own form from a backend."""

    success: bool
    plan: Any
    source: Literal["backend", "model"]
    session: SessionNote


class CreatePlanTool(MetaTool):
    """Plans."""

    slug = "COMPOSIO_CREATE_PLAN"
    arguments_type = CreatePlanArguments
    data_type = CreatePlanData

    def __init__(self, manager: SessionManager, directory: Directory, gateway: AsksOutside) -> None:
        self._manager = manager
        self._directory = directory
        self._gateway = gateway

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Plan.

        Raises:
            InvalidArguments: lists every bad field.
            UpstreamNotConfigured: nobody is there who could plan; names the settings.
            WorkbenchError: the backend or the model could not be asked, or gave no plan.
        """
        asked = read_arguments(with_known_text(arguments), CreatePlanArguments, {"use_case": _check})
        session = await session_of(self._manager, caller, asked.session_id, self.slug)
        structlog.contextvars.bind_contextvars(session=session.id)
        theirs = await self._theirs(session, asked)
        if theirs is not None:
            return answered(CreatePlanData(success=True, plan=theirs, source="backend", session=note_of(session)))
        plan = await self._planned(session, asked)
        return answered(CreatePlanData(success=True, plan=plan, source="model", session=note_of(session)))

    async def _theirs(self, session: Session, asked: CreatePlanArguments) -> Any | None:
        """Let the backend plan; None when it cannot."""
        if not self._directory.has_backend:
            return None
        said = {key: value for key, value in msgspec.structs.asdict(asked).items() if value is not None}
        said.pop("session_id", None)  # ours is none of theirs
        try:
            answer = await self._gateway.forward(session, self.slug, said)
        except NotFound:
            return None
        if answer.error is not None:
            raise UpstreamInvalid(f"the tool backend could not plan: {answer.error}")
        data = msgspec.json.decode(answer.data)
        return data.get("plan", data)

    async def _planned(self, session: Session, asked: CreatePlanArguments) -> Plan:
        """Ask the model, and once more when its answer is no plan."""
        tools = await self._tools(session, asked)
        code = CODE_TOOLS if self._directory.has_sandbox(session) else ()
        slugs = {*(tool.slug for tool in tools), *code}
        asking = question(asked.use_case, (asked.known_fields or "")[:_KNOWN_CHARS], asked.difficulty, tools, code)
        try:
            return read_plan(await self._ask(session, asking), slugs)
        except BadPlan as error:
            again = f"{asking}An earlier answer could not be used: {error}. Give the JSON object alone.\n"
        try:
            return read_plan(await self._ask(session, again), slugs)
        except BadPlan as error:
            raise UpstreamInvalid(f"the model gave no plan that can be used, twice: {error}") from None

    async def _ask(self, session: Session, asking: str) -> str:
        try:
            return await self._gateway.ask_model(session, asking, helper=_HELPER)
        except UpstreamNotConfigured:
            raise UpstreamNotConfigured(
                "COMPOSIO_CREATE_PLAN needs a model (`model_base_url` and `model_name`: WORKBENCH_MODEL_BASE_URL, "
                "WORKBENCH_MODEL_NAME) or a backend that plans (`composio_api_key`: WORKBENCH_COMPOSIO_API_KEY)",
                suggested_fix="Plan by yourself from the steps that COMPOSIO_SEARCH_TOOLS recommends.",
            ) from None

    async def _tools(self, session: Session, asked: CreatePlanArguments) -> list[ToolInfo]:
        """Give the tools that were named, and what is found for the use case."""
        named = _slugs([*(asked.primary_tool_slugs or ()), *(asked.related_tool_slugs or ())])
        tools = dict((await self._directory.find(session, named)).tools)
        (hits,) = await self._directory.search(session, [UseCase(asked.use_case)], limit=_FOUND_MAX)
        for hit in hits:
            if hit.entry.tool is not None:
                tools.setdefault(hit.entry.tool.slug, hit.entry.tool)
        return list(tools.values())[: TOOLS_MAX + _FOUND_MAX]


def _check(use_case: str) -> str | None:
    if 0 < len(use_case.strip()) <= len(use_case) <= USE_CASE_CHARS:
        return None
    return f"Expected 1 to {USE_CASE_CHARS:,} characters"


def _slugs(named: Sequence[str]) -> list[str]:
    """Give the first of them in their one spelling; what is no slug cannot be planned with."""
    good: dict[str, None] = {}
    for slug in named:
        try:
            good[normal_slug(slug)] = None
        except InvalidArguments:
            continue
    return list(good)[:TOOLS_MAX]
