"""The sessions: which one a request means, where it runs, and how all of it begins and ends.

The hot path (a session in memory with a live sandbox) touches no database and waits for nothing but the pipe.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

import structlog

from sandbox.errors import NotFound, Overloaded, RuntimeFault, StoreUnavailable, WorkbenchError
from sandbox.pipe.messages import RunCode, Status
from sandbox.runtimes.base import Runtime, SandboxSpec
from sandbox.sessions import ids, runner, source, telling
from sandbox.sessions.background import Background
from sandbox.sessions.boot import boot
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.claims import Claims
from sandbox.sessions.debts import Debts
from sandbox.sessions.execution import Execution, Kind
from sandbox.sessions.history import History
from sandbox.sessions.observer import NoObserver, Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.place import Place
from sandbox.sessions.reaper import Clock
from sandbox.sessions.rest import Rests
from sandbox.sessions.sandbox import LiveSandbox, SandboxStatus
from sandbox.sessions.session import Session
from sandbox.sessions.store import Store
from sandbox.sessions.supply import POOL_SIZE_NAME, Supply
from sandbox.sessions.takeover import TakenOver, Takeover

log = structlog.get_logger(__name__)

_LOST_BEFORE = "its sandbox ended since the session was last used"


def _now() -> datetime:
    return datetime.now(UTC)


class SessionManager:
    """Everything about sessions, for the layers above. `start_up` before use, `aclose` after it.

    `installation` names what this controller's sandboxes are labelled with: at the start, those with that label are
    taken over, or removed when no session has them. The manager closes `runtime` and `store`. `timers`: the clock of
    idle sandboxes; None: the event loop.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        *,
        installation: str,
        limits: SessionLimits | None = None,
        observer: Observer | None = None,
        clock: Callable[[], datetime] = _now,
        timers: Clock | None = None,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._installation = installation
        self._limits = limits or SessionLimits()
        self._observer: Observer = observer or NoObserver()
        self._clock = clock
        self._timers = timers
        self._rests = Rests(runtime, self._limits, self._observer)
        self._background = Background()
        self._debts = Debts(runtime, installation, self._background, deadline_s=self._limits.call_deadline_s)
        self._closing = False
        self._closed = False
        self._leaving: asyncio.TimerHandle | None = None
        self._places: dict[str, Place] = {}
        self._catalog = Catalog(
            store,
            self._background,
            clock,
            cached=self._limits.sessions_cached,
            touch_interval_s=self._limits.touch_interval_s,
        )
        self._history = History(
            per_session=self._limits.executions_per_session,
            overall=self._limits.executions_kept,
            chars=self._limits.kept_chars,
        )
        self._claims = Claims(store, self._background, clock, installation)
        self._takeover = Takeover(
            runtime,
            self._claims,
            self._background,
            self._limits,
            installation,
            owe=self._debts.owe,
            adopt=self._adopt,
        )
        self.supply = Supply(
            self._boot,
            installation,
            self._background,
            self._observer,
            self._limits,
            owe=self._debts.owe,
            made_with=runtime.check,
        )
        self.pool = self.supply.pools[POOL_SIZE_NAME]

    # --- life ---------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        """Open the store, take over what an earlier controller left, begin to fill the pool.

        An engine that does not answer is asked again in the background.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        await self._store.open()
        try:
            await self._takeover.ensure()
        except (RuntimeFault, StoreUnavailable) as error:
            log.warning("what earlier sandboxes are left is not known", error=error.message)
            self._background.spawn_lasting(self._start_up_later(), "start without an engine")
        else:
            self.supply.start()

    @property
    def states(self) -> Counter[str]:
        """How many sessions' sandboxes are in each state; those that have none do not count."""
        return Counter(place.state for place in self._places.values() if not place.idle)

    @property
    def running(self) -> int:
        """How many executions have not ended."""
        return len(self._history.running)

    def stop_taking(self) -> None:
        """Refuse new executions: the first step of a shutdown. What runs is asked to end.

        Where sandboxes are kept it gets `shutdown_grace_s` for that instead, and is then left to the next controller.
        """
        if self._closing:
            return
        self._closing = True
        if self._limits.keep_sandboxes:
            self._leaving = asyncio.get_running_loop().call_later(self._limits.shutdown_grace_s, self._leave)
            return
        for execution in self._history.running:
            execution.interrupt()

    async def aclose(self) -> None:
        """Interrupt what runs and remove all sandboxes, or leave both; close store and runtime.

        Every part has its deadline.
        """
        if self._closed:
            return
        self._closed = True
        self.stop_taking()
        if self._limits.keep_sandboxes:
            self._leave()
        await self._until_idle(self._limits.shutdown_grace_s)
        try:
            async with asyncio.timeout(self._limits.call_deadline_s), asyncio.TaskGroup() as group:
                group.create_task(self.supply.aclose())
                for place in self._places.values():
                    group.create_task(place.close(Overloaded("the controller was shut down")))
        except TimeoutError:
            log.warning("not all sandboxes could be removed in time; the next start removes them")
        await self._background.settle(self._limits.shutdown_grace_s)
        await self._background.aclose(self._limits.call_deadline_s)
        await self._close_parts()

    # --- sessions -----------------------------------------------------------------------------------

    async def resolve(self, owner: str, ref: str | None, user_id: str | None) -> Session:
        """Give the session that a request means.

        `ref` is a session id or any label; without it the session is the user's, else the owner's default one.
        A session that is meant by name is created when there is none.

        Raises:
            NotFound: `ref` is a session id, and not of a session of this owner.
            StoreUnavailable: it is not in memory and the store does not answer.
        """
        began = monotonic()
        session = await self._catalog.resolve(owner, ref, user_id)
        self._observer.stage("resolve", monotonic() - began)
        return session

    async def get(self, owner: str, session_id: str) -> Session:
        """Give a session by its id or its label; never creates one. Raises as `resolve`."""
        return await self._catalog.get(owner, session_id)

    async def delete(self, owner: str, session_id: str) -> None:
        """Delete a session: what runs ends, its sandbox is removed, its name is free.

        Raises:
            NotFound: as `get`.
            StoreUnavailable: the store does not answer; then nothing is deleted.
        """
        session = await self._catalog.get(owner, session_id)
        await self._catalog.delete(session)
        place = self._places.pop(session.id, None)
        if place is not None:
            await place.close(NotFound("the session was deleted"))
        self._history.forget_session(session.id)

    # --- executions ---------------------------------------------------------------------------------

    async def start(self, session: Session, body: source.Run, *, timeout_s: float) -> Execution:
        """Begin to run code or a command, and return at once: a sandbox is found or started on the way.

        Raises:
            NotFound: the session was deleted meanwhile.
            PayloadTooLarge, InvalidArguments: the source cannot be sent.
            Overloaded: the controller shuts down.
        """
        self._check_usable(session)
        source.check(body)
        place = self._place(session)
        kind: Kind = "python" if isinstance(body, RunCode) else "bash"
        execution = self._begin(ids.execution_id(), session, kind, timeout_s)
        self._background.spawn(self._run(execution, session, place, runner.run(execution, place, body)), execution.id)
        return execution

    def execution(self, owner: str, execution_id: str) -> Execution:
        """Give a recent execution. Raises `NotFound`."""
        return self._history.get(owner, execution_id)

    def executions(self, session: Session) -> list[Execution]:
        """Give a session's recent executions, newest first."""
        return self._history.of_session(session.id)

    async def interrupt(self, session: Session) -> int:
        """Ask all that runs in a session to end, and say how many that were."""
        running = self._history.running_in(session.id)
        for execution in running:
            execution.interrupt()
        return len(running)

    async def restart_kernel(self, session: Session) -> Status:
        """Give the session's sandbox a new kernel; one that has no sandbox gets one.

        Raises:
            RuntimeFault: no sandbox could be had, or it is gone.
            NotFound: the session was deleted.
            Overloaded: the controller shuts down.
        """
        self._check_usable(session)
        place = self._place(session)
        with place.used():
            given = await place.sandbox()
            return await given.sandbox.restart_kernel()

    async def status(self, session: Session) -> SandboxStatus | None:
        """Say how the session's sandbox is, without waking it; None when it has none now.

        Raises:
            SandboxGone: it is found not to answer.
        """
        place = self._places.get(session.id)
        return await place.status() if place is not None else None

    async def list(self, owner: str, *, limit: int = 100, after: str | None = None) -> list[Session]:
        """Give the owner's sessions, newest first, from the one after id `after`.

        Raises:
            NotFound: the owner never had a session `after`.
            StoreUnavailable: the store does not answer.
        """
        return await self._catalog.list(owner, limit=limit, after=after)

    # --- inside -------------------------------------------------------------------------------------

    def _begin(
        self, execution_id: str, session: Session, kind: Kind, timeout_s: float, *, age_s: float = 0.0
    ) -> Execution:
        execution = Execution(
            execution_id,
            session_id=session.id,
            owner=session.owner,
            kind=kind,
            created_at=self._clock() - timedelta(seconds=age_s),
            timeout_s=timeout_s,
            live_chars=self._limits.live_chars,
        )
        self._history.begin(execution)
        return execution

    async def _run(self, execution: Execution, session: Session, place: Place, work: Awaitable[None]) -> None:
        began = monotonic()
        telling.bind(execution)
        try:
            with place.used(), self.supply.quiet.working():
                await work
        finally:
            if execution.released is None:
                self._history.ended(execution)
                telling.ended(execution, self._observer, monotonic() - began)
            self._catalog.touch(session)

    def _check_usable(self, session: Session) -> None:
        if self._closing:
            raise Overloaded("the controller shuts down", retry_after_s=10)
        self._catalog.check_alive(session)

    def _place(self, session: Session) -> Place:
        place = self._places.get(session.id)
        if place is None:
            self._make_room()
            provide = partial(self._provide, session)
            lost = _LOST_BEFORE if session.last_used_at is not None else None
            place = Place(
                session.id,
                provide,
                self._background,
                self._observer,
                owe=self._debts.owe,
                rests=self._rests,
                rules=self._limits.idle_of.get(session.owner, self._limits.idle),
                clock=self._timers or asyncio.get_running_loop(),
                lost=lost,
                on_removal=self._removed,
            )
            self._places[session.id] = place
        return place

    def _make_room(self) -> None:
        """Forget the oldest place that nothing is in, when there are too many."""
        if len(self._places) < self._limits.sessions_cached:
            return
        for session_id, place in self._places.items():
            if place.idle and not self._history.running_in(session_id):
                del self._places[session_id]
                return

    async def _provide(self, session: Session) -> LiveSandbox:
        """Claim a sandbox from the pool, or boot one."""
        await self._takeover.ensure()
        began = monotonic()
        sandbox, from_pool = await self.supply.give(session.sandbox_size, session.owner)
        self._claims.note(sandbox.sandbox_id, session.id)
        self._catalog.touch(session)
        self._observer.sandbox_started(monotonic() - began, from_pool=from_pool)
        log.info("sandbox given", session=session.id, sandbox=sandbox.sandbox_id, from_pool=from_pool)
        return sandbox

    def _removed(self, sandbox_id: str) -> None:
        self._claims.forget(sandbox_id)
        self.supply.admission.leave(sandbox_id)

    async def _boot(self, spec: SandboxSpec) -> LiveSandbox:
        try:
            return await boot(self._runtime, spec, self._limits, self._debts)
        except WorkbenchError:
            self._observer.sandbox_start_failed()
            raise

    # --- from one controller to the next --------------------------------------------------------------

    async def _start_up_later(self) -> None:
        await self._takeover.ensure_in_the_end()
        if not self._closing:
            self.supply.start()

    def _adopt(self, found: TakenOver) -> None:
        """Take a session's sandbox over, and follow what runs in it. Raises `NotFound` for a deleted session."""
        session, sandbox = found.session, found.sandbox
        self._catalog.check_alive(session)
        place = self._place(session)
        self.supply.admission.note(sandbox.sandbox_id, sandbox.spec.size.memory_bytes)
        place.adopt(sandbox, stopped=found.stopped)
        for survivor in found.survivors:
            if survivor.id in self._history:
                continue  # not this agent's to name
            execution = self._begin(survivor.id, session, survivor.kind.value, survivor.timeout_s, age_s=survivor.age_s)
            work = runner.rejoin(execution, sandbox, survivor)
            self._background.spawn(self._run(execution, session, place, work), execution.id)

    def _leave(self) -> None:
        """Let go of all sandboxes and of what runs in them; the next start finds them."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        executions = [execution.id for execution in self._history.running if execution.sent]
        why = Overloaded("the controller was shut down", retry_after_s=10)
        left = sum(place.leave(why) for place in self._places.values())
        if left:
            log.info("sandboxes are left to the next start", sandboxes=left, executions=executions)

    async def _until_idle(self, timeout_s: float) -> None:
        """Wait until no execution runs, at most so long."""
        try:
            async with asyncio.timeout(timeout_s):
                for execution in self._history.running:
                    await execution.ended()
        except TimeoutError:
            log.warning("executions did not end after their interrupt", count=len(self._history.running))

    async def _close_parts(self) -> None:
        for name, close in (("store", self._store.close), ("runtime", self._runtime.close)):
            try:
                async with asyncio.timeout(self._limits.call_deadline_s):
                    await close()
            except (TimeoutError, RuntimeFault, StoreUnavailable) as error:
                log.warning("a part could not be closed", part=name, error=str(error))
