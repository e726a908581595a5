"""Where sessions run: the place of each one, made when it is first needed, and how it gets a sandbox."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Final

import structlog

from sandbox.errors import WorkbenchError
from sandbox.runtimes.base import SIZES
from sandbox.sessions.background import Background
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.claims import Claims
from sandbox.sessions.debts import Owe
from sandbox.sessions.giving_way import Unused
from sandbox.sessions.helper_desk import HelperDesk
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.place import Place
from sandbox.sessions.reaper import Clock
from sandbox.sessions.resizing import Resizing
from sandbox.sessions.rest import Rests
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.session import Session
from sandbox.sessions.supply import Supply
from sandbox.sessions.takeover import TakenOver

log = structlog.get_logger(__name__)

LOST_BEFORE: Final = "its sandbox ended since the session was last used"


class Places:
    """One place for each session in use; beyond `sessions_cached` those that nothing is in are forgotten.

    `take_over` is awaited before a sandbox is given. `in_use` says whether executions of a session have not ended.
    `timers`: the clock of idle sandboxes; None: the event loop. `helpers` takes the helper calls of each sandbox.
    """

    def __init__(
        self,
        catalog: Catalog,
        supply: Supply,
        claims: Claims,
        rests: Rests,
        background: Background,
        *,
        resizing: Resizing,
        observer: Observer,
        limits: SessionLimits,
        owe: Owe,
        take_over: Callable[[], Awaitable[None]],
        in_use: Callable[[str], bool],
        clock: Callable[[], datetime],
        timers: Clock | None,
        helpers: HelperDesk,
    ) -> None:
        self._catalog = catalog
        self._supply = supply
        self._claims = claims
        self._rests = rests
        self._resizing = resizing
        self._background = background
        self._observer = observer
        self._limits = limits
        self._owe = owe
        self._take_over = take_over
        self._in_use = in_use
        self._clock = clock
        self._timers = timers
        self._helpers = helpers
        self._places: dict[str, Place] = {}
        self._sessions: dict[str, Session] = {}
        supply.may_stop(self)

    @property
    def clock(self) -> Clock:
        """The clock of idle sandboxes."""
        return self._timers or asyncio.get_running_loop()

    @property
    def states(self) -> Counter[str]:
        """How many sessions' sandboxes are in each state; those that have none do not count."""
        return Counter(place.state for place in self._places.values() if not place.idle)

    def get(self, session_id: str) -> Place | None:
        """Give a session's place if it has one."""
        return self._places.get(session_id)

    def of(self, session: Session) -> Place:
        """Give a session's place; makes it when there is none."""
        session = self._catalog.newest(session)
        place = self._places.get(session.id)
        if place is None:
            self._make_room()
            self._sessions[session.id] = session
            place = self._places[session.id] = self._make(session)
        else:
            self.reconfigured(session)
        return place

    def reconfigured(self, session: Session) -> None:
        """Take a session's new configuration: it holds for helper calls at once, its size from the next call on."""
        known = self._sessions.get(session.id)
        if known is not None and known.config_version < session.config_version:
            self._sessions[session.id] = session

    def adopt(self, found: TakenOver) -> Place:
        """Put what an earlier controller left into its session's place. Raises `NotFound` for a deleted session."""
        session, sandbox = found.session, found.sandbox
        self._catalog.check_alive(session)
        place = self.of(session)
        if not found.stopped:
            # The label says how it was made; it may have been resized since.
            sizes = sandbox.spec.size, SIZES.get(session.sandbox_size, sandbox.spec.size)
            memory_bytes = max(size.memory_bytes for size in sizes)
            self._supply.admission.note(sandbox.sandbox_id, memory_bytes, session.owner)
        idle_s = session.idle_s(self._clock(), late_s=self._limits.touch_interval_s)
        place.adopt(sandbox, stopped=found.stopped, idle_s=idle_s)
        return place

    async def remove(self, session_id: str, why: WorkbenchError) -> None:
        """End a session's place with its sandbox."""
        place = self._places.pop(session_id, None)
        self._sessions.pop(session_id, None)
        if place is not None:
            await place.close(why)

    def unused(self) -> list[Unused]:
        """Give the sandboxes that may be stopped now to make room."""
        return [unused for place in self._places.values() if (unused := place.unused()) is not None]

    async def give_way(self, session_id: str) -> None:
        """Stop a session's sandbox if it is still unused; comes back when that is over, whatever came of it."""
        place = self._places.get(session_id)
        if place is not None:
            await place.give_way()

    async def close(self, why: WorkbenchError) -> None:
        """End all places with their sandboxes, but for those that were left."""
        async with asyncio.TaskGroup() as group:
            for place in self._places.values():
                group.create_task(place.close(why))

    def leave(self, why: WorkbenchError) -> int:
        """Let go of all sandboxes, and say how many that were; the next controller finds them."""
        return sum(place.leave(why) for place in self._places.values())

    def _make(self, session: Session) -> Place:
        return Place(
            session.id,
            partial(self._provide, session),
            self._background,
            self._observer,
            owner=session.owner,
            owe=self._owe,
            rests=self._rests,
            rules=self._limits.idle_of.get(session.owner, self._limits.idle),
            clock=self.clock,
            lost=LOST_BEFORE if session.last_used_at is not None else None,
            fit=partial(self._fit, session),
            on_sandbox=partial(self._helpers.serve, partial(self._now, session)),
            on_use=partial(self._catalog.touch, session),
            on_removal=self._removed,
        )

    def _make_room(self) -> None:
        """Forget the oldest place that nothing is in, when there are too many."""
        if len(self._places) < self._limits.sessions_cached:
            return
        for session_id, place in self._places.items():
            if place.idle and not self._in_use(session_id):
                del self._places[session_id]
                self._sessions.pop(session_id, None)
                return

    def _now(self, session: Session) -> Session:
        """Give the session as it is now."""
        return self._sessions.get(session.id, session)

    async def _fit(self, session: Session, sandbox: LiveSandbox) -> str | None:
        return await self._resizing.fit(sandbox, self._now(session).sandbox_size)

    async def _provide(self, session: Session) -> LiveSandbox:
        """Claim a sandbox from the pool, or boot one."""
        session = self._now(session)
        await self._take_over()
        began = monotonic()
        sandbox, from_pool = await self._supply.give(session.sandbox_size, session.owner)
        self._claims.note(sandbox.sandbox_id, session.id)
        self._catalog.touch(session)
        self._observer.sandbox_started(monotonic() - began, from_pool=from_pool)
        log.info("sandbox given", session=session.id, sandbox=sandbox.sandbox_id, from_pool=from_pool)
        return sandbox

    def _removed(self, sandbox_id: str) -> None:
        self._claims.forget(sandbox_id)
        self._supply.admission.leave(sandbox_id)
