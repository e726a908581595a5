"""What the tools have in common: who calls, what comes back, and the run of one execution."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar, TypeAlias

import msgspec
import structlog

from sandbox.pipe.messages import BashResult, CodeResult, RunBash, RunCode
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools.arguments import Check, seconds_within
from sandbox.tools.exposure import check_switched_on

Outcome: TypeAlias = CodeResult | BashResult
OnStage: TypeAlias = Callable[[str, float], None]


def _told_nobody(_stage: str, _seconds: float) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: `owner` is derived from the API key, `user_id` is what the client calls its user.

    `session_ref`: the session that the path names; it wins over one in the arguments. `offload`: whether large answers
    of tools shall go to a file although the arguments do not ask for it.
    """

    owner: str
    user_id: str | None = None
    session_ref: str | None = None
    offload: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for: the text to run, the session's id or label, the time limit in seconds."""

    source: str
    session_ref: str | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds: what holds when a request names nothing, the highest that it may name, the longest wait before."""

    default_s: float
    highest_s: float
    queue_s: float = 900.0


class SessionNote(msgspec.Struct, frozen=True):
    """Which session served the call, and how to come back to it."""

    id: str
    instructions: str


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a meta tool answers. `data` has the fields of the public schema; `log_id` finds the log lines."""

    data: msgspec.Struct
    error: str | None
    successful: bool
    log_id: str


class MetaTool(ABC):
    """A tool of the service itself. `arguments_type`, `data_type`: what it takes and what it answers."""

    slug: ClassVar[str]
    arguments_type: ClassVar[type[msgspec.Struct]]
    data_type: ClassVar[type[msgspec.Struct]]

    @abstractmethod
    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Run to the end. Cancelling ends what is under way.

        Raises:
            InvalidArguments: lists every bad field.
            WorkbenchError: it could not be done.
        """


class Tool(MetaTool):
    """A meta tool that runs something in the sandbox.

    `strict_schema` leaves out what the published schema does not have. `on_stage` is told the seconds that
    composing an answer took.
    """

    def __init__(
        self,
        manager: SessionManager,
        limits: TimeLimits,
        *,
        strict_schema: bool = False,
        on_stage: OnStage = _told_nobody,
    ) -> None:
        self._manager = manager
        self._limits = limits
        self._strict = strict_schema
        self._on_stage = on_stage
        self.checks: dict[str, Check] = {"timeout": seconds_within(limits.highest_s)}
        """What a request's fields have to pass beyond their type."""

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Run to the end. Cancelling interrupts what runs.

        Raises:
            InvalidArguments: lists every bad field.
            WorkbenchError: no sandbox could be had.
        """
        return await self.finish(await self.begin(caller, arguments))

    async def begin(self, caller: Caller, arguments: object) -> Execution:
        """Read a call's arguments and start; `finish` waits for the answer. Raises as `run`."""
        return await self.start(caller, self._read(arguments))

    async def finish(self, execution: Execution) -> ToolResult:
        """Wait for an execution of this tool and compose the answer. Cancelling interrupts it. Raises as `run`."""
        try:
            outcome = await execution.wait()
        except asyncio.CancelledError:
            execution.interrupt()
            raise
        began = perf_counter()
        result = self.present(execution, outcome)
        self._on_stage("present", perf_counter() - began)
        return result

    async def start(self, caller: Caller, asked: Asked) -> Execution:
        """Start and return at once: the execution runs by itself.

        Raises:
            WorkbenchError: the session cannot be had, or cannot take one more execution.
        """
        session = await session_of(self._manager, caller, asked.session_ref, self.slug)
        timeout_s = self._limits.default_s if asked.timeout_s is None else float(asked.timeout_s)
        execution = await self._manager.start(session, self._body(asked.source), timeout_s=timeout_s)
        structlog.contextvars.bind_contextvars(session=session.id, execution=execution.id)
        return execution

    @abstractmethod
    def present(self, execution: Execution, outcome: Outcome) -> ToolResult:
        """Compose the answer for an execution of this tool that has ended as `outcome`."""

    @abstractmethod
    def _read(self, arguments: object) -> Asked:
        """Read a call's arguments; raises InvalidArguments."""

    @abstractmethod
    def _body(self, source: str) -> RunCode | RunBash:
        """Make the call to the agent."""


async def session_of(manager: SessionManager, caller: Caller, asked: str | None, slug: str) -> Session:
    """Give the session that a call of a meta tool means: of its path, else of its arguments, else of its user.

    Raises:
        ToolSwitchedOff: the session has not this tool.
        NotFound, StoreUnavailable: as `SessionManager.resolve`.
    """
    session = await manager.resolve(caller.owner, caller.session_ref or asked, caller.user_id)
    check_switched_on(session, slug)
    return session


def session_note(execution: Execution) -> SessionNote:
    """How to come back; says first when the sandbox had to be replaced, or got another size."""
    words = (execution.recreated, execution.resized, how_to_go_on(execution.session_id))
    return SessionNote(id=execution.session_id, instructions=" ".join(word for word in words if word))


def how_to_go_on(session_id: str) -> str:
    """Say how the next call reaches the same session."""
    return f'Pass session_id "{session_id}" to go on with the same variables and files.'


def log_id_of(execution: Execution) -> str:
    """The answer's `log_id`: the execution's id under the name that clients expect."""
    return f"log_{execution.id.removeprefix('exe_')}"
