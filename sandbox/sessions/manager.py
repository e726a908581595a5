"""The sessions: which one a request means, where it runs, and how all of it begins and ends.

The hot path (a session in memory with a live sandbox) touches no database and waits for nothing but the pipe.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import structlog

from sandbox.errors import NotFound, Overloaded, RuntimeFault, StoreUnavailable, WorkbenchError
from sandbox.pipe.messages import RunCode, Status
from sandbox.runtimes.base import SIZES, Runtime, SandboxSpec, Size
from sandbox.sessions import ids, runner, source
from sandbox.sessions.background import Background
from sandbox.sessions.boot import boot
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.execution import Execution
from sandbox.sessions.history import History
from sandbox.sessions.leftovers import take_over
from sandbox.sessions.observer import NoObserver, Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.place import Place
from sandbox.sessions.pool import Pool
from sandbox.sessions.sandbox import LiveSandbox, SandboxStatus
from sandbox.sessions.session import Session
from sandbox.sessions.store import Store

log = structlog.get_logger(__name__)

POOL_SIZE_NAME = "standard"
_LOST_BEFORE = "its sandbox ended since the session was last used"


def _now() -> datetime:
    return datetime.now(UTC)


class SessionManager:
    """Everything about sessions, for the layers above. `start_up` before use, `aclose` after it.

    `installation` names what this controller's sandboxes are labelled with: at the start, leftovers with that
    label are removed. The manager closes `runtime` and `store`.
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
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._installation = installation
        self._limits = limits or SessionLimits()
        self._observer: Observer = observer or NoObserver()
        self._clock = clock
        self._background = Background()
        self._closing = False
        self._closed = False
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
        self.pool = Pool(
            partial(self._boot, SIZES[POOL_SIZE_NAME]),
            self._background,
            self._observer,
            size=self._limits.pool_size,
            size_name=POOL_SIZE_NAME,
            retry_s=self._limits.pool_retry_s,
        )

    # --- life ---------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        """Open the store, clear what an earlier controller left, begin to fill the pool.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        await self._store.open()
        await take_over(self._runtime, self._installation, self._limits.call_deadline_s)
        self.pool.start()

    @property
    def sandboxes(self) -> int:
        """How many sessions have a sandbox now."""
        return sum(place.live is not None for place in self._places.values())

    def stop_taking(self) -> None:
        """Refuse new executions and ask all that run to end: the first step of a shutdown."""
        self._closing = True
        for execution in self._history.running:
            execution.interrupt()

    async def aclose(self) -> None:
        """Interrupt what runs, remove all sandboxes, close store and runtime; every part has its deadline."""
        if self._closed:
            return
        self._closed = True
        self.stop_taking()
        await self._until_idle(self._limits.shutdown_grace_s)
        try:
            async with asyncio.timeout(self._limits.call_deadline_s), asyncio.TaskGroup() as group:
                group.create_task(self.pool.aclose())
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
        return await self._catalog.resolve(owner, ref, user_id)

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
        execution = Execution(
            ids.execution_id(),
            session_id=session.id,
            owner=session.owner,
            kind="python" if isinstance(body, RunCode) else "bash",
            created_at=self._clock(),
            timeout_s=timeout_s,
            live_chars=self._limits.live_chars,
        )
        self._history.begin(execution)
        self._background.spawn(self._run(execution, session, place, body), execution.id)
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
        given = await self._place(session).sandbox()
        return await given.sandbox.restart_kernel()

    async def status(self, session: Session) -> SandboxStatus | None:
        """Ask the session's sandbox how it is; None when it has none now.

        Raises:
            SandboxGone: it is found not to answer.
        """
        place = self._places.get(session.id)
        live = place.live if place is not None else None
        return await live.status() if live is not None else None

    async def list(self, owner: str, *, limit: int = 100, after: str | None = None) -> list[Session]:
        """Give the owner's sessions, newest first, from the one after id `after`.

        Raises:
            NotFound: the owner never had a session `after`.
            StoreUnavailable: the store does not answer.
        """
        return await self._catalog.list(owner, limit=limit, after=after)

    # --- inside -------------------------------------------------------------------------------------

    async def _run(self, execution: Execution, session: Session, place: Place, body: source.Run) -> None:
        began = monotonic()
        try:
            await runner.run(execution, place, body)
        finally:
            self._history.ended(execution)
            self._observer.execution_ended(execution.kind, runner.ending_of(execution), monotonic() - began)
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
            place = Place(session.id, provide, self._background, self._observer, lost=lost)
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
        began = monotonic()
        sandbox = self.pool.claim(session.sandbox_size)
        from_pool = sandbox is not None
        if sandbox is None:
            sandbox = await self._boot(SIZES[session.sandbox_size])
        self._catalog.touch(session)
        self._observer.sandbox_started(monotonic() - began, from_pool=from_pool)
        log.info("sandbox given", session=session.id, sandbox=sandbox.sandbox_id, from_pool=from_pool)
        return sandbox

    async def _boot(self, size: Size) -> LiveSandbox:
        try:
            spec = SandboxSpec(ids.sandbox_id(), self._installation, size)
            return await boot(self._runtime, spec, self._limits)
        except WorkbenchError:
            self._observer.sandbox_start_failed()
            raise

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
