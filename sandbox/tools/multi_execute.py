"""COMPOSIO_MULTI_EXECUTE_TOOL: run up to fifty tools at the same time; large answers go to a file in the sandbox."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
import structlog

from sandbox.errors import WorkbenchError
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools.answers import note_of, words_of
from sandbox.tools.arguments import read_arguments
from sandbox.tools.base import Caller, MetaTool, SessionNote, ToolResult, session_of
from sandbox.tools.offload import RemoteFileInfo
from sandbox.tools.responses import Responses, RunsTools, Shown, ToolOutcome, outcome_of

TOOLS_MAX: Final = 50


class ToolOrder(msgspec.Struct, frozen=True):
    """One tool to run."""

    tool_slug: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    arguments: dict[str, Any] = {}
    account: str | None = None


class MultiExecuteArguments(msgspec.Struct, frozen=True):
    """Arguments of all generations of the public contract; those that only describe intent change nothing."""

    tools: Annotated[list[ToolOrder], msgspec.Meta(min_length=1, max_length=TOOLS_MAX)]
    sync_response_to_workbench: bool = False
    session_id: str | None = None
    thought: str | None = None
    memory: Any = None
    current_step: str | None = None
    current_step_metric: str | dict[str, Any] | None = None
    next_step: str | None = None


class MultiExecuteData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer; `results` in the order of the tools asked for."""

    results: list[ToolOutcome]
    total_count: int
    success_count: int
    error_count: int
    session: SessionNote
    remote_file_info: RemoteFileInfo | None = None
    next_steps: str | None = None


class MultiExecuteTool(MetaTool):
    """Runs tools. `at_once`: how many at the same time."""

    slug = "COMPOSIO_MULTI_EXECUTE_TOOL"
    arguments_type = MultiExecuteArguments
    data_type = MultiExecuteData

    def __init__(self, manager: SessionManager, gateway: RunsTools, responses: Responses, *, at_once: int) -> None:
        self._manager = manager
        self._gateway = gateway
        self._responses = responses
        self._at_once = at_once

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Run all tools; each has its own ending. See `MetaTool.run`."""
        asked = read_arguments(arguments, MultiExecuteArguments, {})
        session = await session_of(self._manager, caller, asked.session_id, self.slug)
        structlog.contextvars.bind_contextvars(session=session.id)
        with self._gateway.holding():
            outcomes = await self._run_all(session, asked.tools)
            shown = await self._responses.present(session, outcomes, sync=asked.sync_response_to_workbench)
        data = _data(session, shown)
        failed = data.error_count == data.total_count
        return ToolResult(
            data=data,
            error=f"No tool succeeded: {outcomes[0].error}" if failed else None,
            successful=not failed,
            log_id=f"log_{secrets.token_hex(8)}",
        )

    async def _run_all(self, session: Session, orders: Sequence[ToolOrder]) -> list[ToolOutcome]:
        room = asyncio.Semaphore(self._at_once)

        async def run(index: int, order: ToolOrder) -> ToolOutcome:
            async with room:
                return await self._run_one(session, index, order)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(index, order)) for index, order in enumerate(orders)]
        return [task.result() for task in tasks]

    async def _run_one(self, session: Session, index: int, order: ToolOrder) -> ToolOutcome:
        slug = order.tool_slug.strip().upper()
        try:
            answer = await self._gateway.run_tool(session, slug, order.arguments, account=order.account)
        except WorkbenchError as error:
            return ToolOutcome(tool_slug=order.tool_slug, index=index, response=None, error=words_of(error))
        return outcome_of(order.tool_slug, index, answer)


def _data(session: Session, shown: Shown) -> MultiExecuteData:
    total = len(shown.outcomes)
    succeeded = sum(outcome.error is None for outcome in shown.outcomes)
    return MultiExecuteData(
        results=shown.outcomes,
        total_count=total,
        success_count=succeeded,
        error_count=total - succeeded,
        session=note_of(session),
        remote_file_info=shown.file,
        next_steps=shown.next_steps,
    )
