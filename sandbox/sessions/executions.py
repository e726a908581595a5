"""All executions of a controller: those that run, those that ended lately, and, from the store, those before."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from time import monotonic

import structlog

from sandbox.sessions import telling
from sandbox.sessions.background import Background
from sandbox.sessions.execution import Execution, ExecutionState, Kind
from sandbox.sessions.history import History
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.results import Bounds, Results
from sandbox.sessions.session import Session
from sandbox.sessions.store import Store

log = structlog.get_logger(__name__)


class Executions:
    """Begins executions, follows them to their ends, keeps their results and finds them again."""

    def __init__(
        self,
        store: Store,
        background: Background,
        clock: Callable[[], datetime],
        limits: SessionLimits,
        observer: Observer,
    ) -> None:
        self._clock = clock
        self._live_chars = limits.live_chars
        self._observer = observer
        self._per_session = limits.executions_per_session
        self._history = History(
            per_session=limits.executions_per_session, overall=limits.executions_kept, chars=limits.kept_chars
        )
        bounds = Bounds(limits.executions_kept, limits.kept_chars, limits.executions_per_session)
        self.results = Results(store, background, clock, bounds, enabled=limits.results_age_s > 0)

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._history

    @property
    def running(self) -> list[Execution]:
        """All that have not ended."""
        return self._history.running

    def running_in(self, session_id: str) -> list[Execution]:
        """Those of a session that have not ended."""
        return self._history.running_in(session_id)

    def begin(
        self, execution_id: str, session: Session, kind: Kind, timeout_s: float, *, age_s: float = 0.0
    ) -> Execution:
        """Make an execution that was asked for `age_s` seconds ago; `follow` has to come next."""
        execution = Execution(
            execution_id,
            session_id=session.id,
            owner=session.owner,
            kind=kind,
            created_at=self._clock() - timedelta(seconds=age_s),
            timeout_s=timeout_s,
            live_chars=self._live_chars,
        )
        self._history.begin(execution)
        return execution

    async def follow(self, execution: Execution, work: Awaitable[None]) -> None:
        """Do the work that brings it to its end; then tell of it and keep its result."""
        began = monotonic()
        telling.bind(execution)
        try:
            await work
        finally:
            if execution.released is None:
                self._history.ended(execution)
                self.results.keep(execution)
                telling.ended(execution, self._observer, monotonic() - began)

    def recent(self, owner: str, execution_id: str) -> Execution | None:
        """Give one that is in memory."""
        return self._history.find(owner, execution_id)

    async def find(self, owner: str, execution_id: str) -> Execution | None:
        """Give one, from memory or from the store. Raises `StoreUnavailable` when memory has it not."""
        return self.recent(owner, execution_id) or await self.results.find(owner, execution_id)

    async def of_session(self, session_id: str) -> list[Execution]:
        """Give a session's executions, newest first: all that run, and the last that ended.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        stored = await self.results.of_session(session_id)
        recent = self._history.of_session(session_id)
        known = {execution.id for execution in recent}
        found = [*recent, *(execution for execution in stored if execution.id not in known)]
        found.sort(key=lambda execution: execution.created_at, reverse=True)
        ended = [execution for execution in found if execution.state is ExecutionState.ENDED]
        dropped = {execution.id for execution in ended[self._per_session :]}
        return [execution for execution in found if execution.id not in dropped]

    def forget_session(self, session_id: str) -> None:
        """Drop the ended ones of a session that was deleted."""
        self._history.forget_session(session_id)
        self.results.forget_session(session_id)

    async def until_idle(self, timeout_s: float) -> None:
        """Wait until none runs, at most so long."""
        try:
            async with asyncio.timeout(timeout_s):
                for execution in self.running:
                    await execution.ended()
        except TimeoutError:
            log.warning("executions did not end after their interrupt", count=len(self.running))
