"""What becomes, at the controller's start, of the sandboxes that an earlier one left.

Those that the store knows as a session's are taken over, with what runs in them; all others of this installation
are removed. Those of other installations are not even listed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic
from typing import TypeVar

import structlog

from sandbox import __version__
from sandbox.errors import EngineUnavailable, RuntimeFault, StoreUnavailable, WorkbenchError
from sandbox.limits import SYNC_TIMEOUT_S
from sandbox.pipe.frames import Survivor
from sandbox.pipe.link import NoLink
from sandbox.runtimes.base import SIZES, Condition, Runtime, SandboxInfo, SandboxSpec
from sandbox.sessions.background import Background
from sandbox.sessions.claims import Claims
from sandbox.sessions.debts import Owe
from sandbox.sessions.engine_calls import remove_from
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.rest import STOPPED
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.session import Session
from sandbox.sessions.survivors import checked

log = structlog.get_logger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A session's sandbox and what runs in it. `stopped`: nothing does, it has its files only."""

    session: Session
    sandbox: LiveSandbox
    stopped: bool = False
    survivors: tuple[Survivor, ...] = ()


Adopt = Callable[[TakenOver], None]
"""Give the sandbox to its session. Raises `NotFound` for one that was deleted meanwhile."""

_AT_ONCE = 8
_RETRY_S = 0.5
_RETRY_MAX_S = 10.0


class Fate(Enum):
    """What is done with a sandbox that was found."""

    ADOPT = auto()
    RESUME = auto()
    ADOPT_STOPPED = auto()
    REMOVE = auto()


def fate_of(info: SandboxInfo, session: Session | None) -> Fate:
    """Decide about one sandbox, by what the engine and the store say of it. `session`: whose it is, if it lives."""
    if session is None or info.version != __version__ or info.size not in SIZES:
        return Fate.REMOVE
    match info.condition:
        case Condition.RUNNING:
            return Fate.ADOPT
        case Condition.PAUSED:
            return Fate.RESUME
        case Condition.EXITED:
            return Fate.ADOPT_STOPPED
        case Condition.GONE:
            return Fate.REMOVE


class Takeover:
    """Done once for a controller, before it makes its first sandbox: then nothing new is taken for a leftover."""

    def __init__(
        self,
        runtime: Runtime,
        claims: Claims,
        background: Background,
        limits: SessionLimits,
        installation: str,
        *,
        owe: Owe,
        adopt: Adopt,
    ) -> None:
        self._runtime = runtime
        self._claims = claims
        self._background = background
        self._limits = limits
        self._installation = installation
        self._owe = owe
        self._adopt = adopt
        self._attempt: asyncio.Task[None] | None = None
        self._done = False
        self._taken: set[str] = set()
        self._trouble: EngineUnavailable | None = None
        self._failing_since: dict[str, float] = {}

    async def ensure(self) -> None:
        """Do it, unless it is done; all who ask at the same time share one attempt.

        Raises:
            EngineUnavailable: the engine does not answer.
            StoreUnavailable: the store does not.
        """
        if self._done:
            return
        if self._attempt is None:
            self._attempt = self._background.spawn(self._take_over(), "take-over of sandboxes", awaited=True)
            self._attempt.add_done_callback(self._attempted)
        await asyncio.shield(self._attempt)

    async def ensure_in_the_end(self) -> None:
        """After an attempt that failed: try again and again until engine and store answer."""
        retry_s = _RETRY_S
        while not self._done:
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _RETRY_MAX_S)
            try:
                await self.ensure()
            except (RuntimeFault, StoreUnavailable) as error:
                log.warning("what earlier sandboxes are left is not known yet", error=str(error))

    def _attempted(self, _task: asyncio.Task[None]) -> None:
        self._attempt = None

    async def _take_over(self) -> None:
        claims = await self._claims.read()
        listed = await self._within(self._runtime.list(self._installation), "list its sandboxes")
        found = {info.sandbox_id: info for info in listed}
        self._trouble = None
        for sandbox_id in claims.keys() - found.keys():
            self._claims.forget(sandbox_id)
        # Of several that one session had, the last one is the one that it was told about.
        newest = {claim.session_id: sandbox_id for sandbox_id, (claim, _) in claims.items()}
        turns = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for info in found.values():
                claim, session = claims.get(info.sandbox_id, (None, None))
                if claim is None or newest[claim.session_id] != info.sandbox_id:
                    session = None
                if info.sandbox_id not in self._taken:
                    group.create_task(self._treat(info, session, turns))
        if self._trouble is not None:
            # It went away in the middle: what is not taken over yet is neither lost nor removed for that.
            raise self._trouble
        self._done = True

    def _failed_for_long(self, sandbox_id: str) -> bool:
        """Whether the engine fails at this sandbox for longer than a call may take: all others wait for it."""
        since = self._failing_since.setdefault(sandbox_id, monotonic())
        return monotonic() - since > self._limits.call_deadline_s

    async def _within(self, act: Awaitable[_T], what: str) -> _T:
        try:
            async with asyncio.timeout(self._limits.call_deadline_s):
                return await act
        except TimeoutError:
            raise EngineUnavailable(
                f"the engine did not {what} within {self._limits.call_deadline_s:g} s",
                suggested_fix="Look at the engine: `workbench doctor`.",
            ) from None

    async def _treat(self, info: SandboxInfo, session: Session | None, turns: asyncio.Semaphore) -> None:
        fate = fate_of(info, session)
        if session is not None and fate is not Fate.REMOVE:
            async with turns:
                try:
                    await self._take(info, session, fate)
                except WorkbenchError as error:
                    if isinstance(error, EngineUnavailable) and not self._failed_for_long(info.sandbox_id):
                        self._trouble = error
                        return
                    log.warning(
                        "a session's sandbox could not be taken over",
                        session=session.id,
                        sandbox=info.sandbox_id,
                        error=str(error),
                    )
                else:
                    self._taken.add(info.sandbox_id)
                    return
        self._claims.forget(info.sandbox_id)
        self._background.spawn(self._remove(info.sandbox_id, turns), f"removal of {info.sandbox_id}")

    async def _take(self, info: SandboxInfo, session: Session, fate: Fate) -> None:
        spec = SandboxSpec(info.sandbox_id, self._installation, SIZES[info.size])
        if fate is Fate.ADOPT_STOPPED:
            sandbox = LiveSandbox(self._runtime, spec, NoLink(), self._limits)
            sandbox.retire(STOPPED)
            self._adopt(TakenOver(session, sandbox, stopped=True))
            return
        if fate is Fate.RESUME:
            await self._within(self._runtime.resume(info.sandbox_id), f"resume sandbox {info.sandbox_id}")
        link = await self._within(self._runtime.open(info.sandbox_id), f"open the stream to sandbox {info.sandbox_id}")
        sandbox = LiveSandbox(self._runtime, spec, link, self._limits)
        try:
            hello = await sandbox.greet(min(SYNC_TIMEOUT_S, self._limits.call_deadline_s))
            survivors = checked(hello.survivors)
            self._adopt(TakenOver(session, sandbox, survivors=survivors))
        except BaseException:
            sandbox.retire("it could not be taken over")
            raise
        log.info("a sandbox was taken over", session=session.id, sandbox=info.sandbox_id, executions=len(survivors))

    async def _remove(self, sandbox_id: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                await remove_from(self._runtime, sandbox_id, self._limits.call_deadline_s)
            except RuntimeFault as error:
                log.warning("a leftover could not be removed yet", sandbox=sandbox_id, error=str(error))
                self._owe(sandbox_id)
            else:
                log.info("a leftover was removed", sandbox=sandbox_id)
