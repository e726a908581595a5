"""The sessions: which one a request means, where it runs, and how all of it begins and ends.

The hot path (a session in memory with a live sandbox) touches no database and waits for nothing but the pipe.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog

from sandbox.errors import NotFound, Overloaded, RuntimeFault, StoreUnavailable, WorkbenchError
from sandbox.pipe.messages import RunCode, Status
from sandbox.runtimes.base import Runtime, SandboxSpec
from sandbox.sessions import ids, runner, source
from sandbox.sessions.background import Background
from sandbox.sessions.boot import boot
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.claims import Claims
from sandbox.sessions.configs import Configs
from sandbox.sessions.debts import Debts
from sandbox.sessions.execution import Execution, Kind
from sandbox.sessions.executions import Executions
from sandbox.sessions.helper_desk import HelperDesk
from sandbox.sessions.helper_port import AnswersHelpers, SandboxFiles
from sandbox.sessions.observer import NoObserver, Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.place import Place
from sandbox.sessions.places import Places
from sandbox.sessions.reaper import Clock
from sandbox.sessions.resizing import Resizing
from sandbox.sessions.rest import Rests
from sandbox.sessions.sandbox import LiveSandbox, SandboxStatus
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig
from sandbox.sessions.store import Retention, Store
from sandbox.sessions.supply import POOL_SIZE_NAME, Supply
from sandbox.sessions.sweep import Sweep
from sandbox.sessions.takeover import TakenOver, Takeover

log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


def _retention(limits: SessionLimits) -> Retention:
    return Retention(timedelta(seconds=limits.results_age_s), limits.results_kept, limits.results_bytes)


class SessionManager:
    """Everything about sessions, for the layers above. `start_up` before use, `aclose` after it.

    `installation` names what this controller's sandboxes are labelled with: at the start, those with that label are
    taken over, or removed when no session has them. The manager closes `runtime` and `store`. `timers`: the clock of
    idle sandboxes; None: the event loop. `helpers`: the gateway; None: helper calls are refused.
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
        helpers: AnswersHelpers | None = None,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._installation = installation
        self._limits = limits or SessionLimits()
        self._observer: Observer = observer or NoObserver()
        self._background = Background()
        self._debts = Debts(runtime, installation, self._background, deadline_s=self._limits.call_deadline_s)
        self._closing = False
        self._closed = False
        self._leaving: asyncio.TimerHandle | None = None
        self._catalog = Catalog(
            store,
            self._background,
            clock,
            cached=self._limits.sessions_cached,
            touch_interval_s=self._limits.touch_interval_s,
        )
        self._executions = Executions(store, self._background, clock, self._limits, self._observer)
        self._sweep = Sweep(store, _retention(self._limits), clock, interval_s=self._limits.results_sweep_s)
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
            made_with=runtime.image_id,
            memory=runtime.memory_bytes,
        )
        self._places = Places(
            self._catalog,
            self.supply,
            self._claims,
            Rests(runtime, self._limits, self._observer, self.supply.admission),
            self._background,
            resizing=Resizing(runtime, self.supply.admission, deadline_s=self._limits.call_deadline_s),
            observer=self._observer,
            limits=self._limits,
            owe=self._debts.owe,
            take_over=self._takeover.ensure,
            in_use=lambda session_id: bool(self._executions.running_in(session_id)),
            clock=clock,
            timers=timers,
            helpers=HelperDesk(helpers, self._executions),
        )
        self.pool = self.supply.pools[POOL_SIZE_NAME]
        self.configs = Configs(self._catalog, store, clock, changed=self._places.reconfigured)

    # --- life ---------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        """Open the store, take over what an earlier controller left, begin to fill the pool.

        An engine that does not answer is asked again in the background.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        await self._store.open()
        self._sweep.start(self._background)
        try:
            await self._takeover.ensure()
        except (RuntimeFault, StoreUnavailable) as error:
            log.warning("what earlier sandboxes are left is not known", error=error.message, fix=error.suggested_fix)
            self._background.spawn_lasting(self._start_up_later(), "start without an engine")
        else:
            self.supply.start()

    @property
    def states(self) -> Counter[str]:
        """How many sessions' sandboxes are in each state; those that have none do not count."""
        return self._places.states

    @property
    def running(self) -> int:
        """How many executions have not ended."""
        return len(self._executions.running)

    @property
    def results_waiting(self) -> int:
        """How many executions have ended and are not stored yet."""
        return self._executions.results.waiting

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
        for execution in self._executions.running:
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
        await self._executions.until_idle(self._limits.shutdown_grace_s)
        try:
            async with asyncio.timeout(self._limits.call_deadline_s), asyncio.TaskGroup() as group:
                group.create_task(self.supply.aclose())
                group.create_task(self._places.close(Overloaded("the controller was shut down")))
        except TimeoutError:
            log.warning("not all sandboxes could be removed in time; the next start removes them")
        self._executions.results.hurry()
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

    async def create(
        self, owner: str, *, label: str | None = None, user_id: str | None = None, config: SessionConfig | None = None
    ) -> Session:
        """Make a session; one without a label is known by its id only.

        Raises:
            Conflict: the label is taken.
            StoreUnavailable: the store does not answer.
        """
        config = config or SessionConfig()
        return await self._catalog.create(owner, label, user_id, config.as_json(), config.workbench.sandbox_size)

    async def get(self, owner: str, session_id: str) -> Session:
        """Give a session by its id or its label; never creates one. Raises as `resolve`."""
        return await self._catalog.get(owner, session_id)

    async def linked(self, session_id: str) -> Session:
        """Give the session that a link was signed for, whoever owns it. Raises as `resolve`."""
        return await self._catalog.linked(session_id)

    async def delete(self, owner: str, session_id: str) -> None:
        """Delete a session: what runs ends, its sandbox is removed, its name is free.

        Raises:
            NotFound: as `get`.
            StoreUnavailable: the store does not answer; then nothing is deleted.
        """
        session = await self._catalog.get(owner, session_id)
        await self._catalog.delete(session)
        await self._places.remove(session.id, NotFound("the session was deleted"))
        self._executions.forget_session(session.id)

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
        place = self._places.of(session)
        kind: Kind = "python" if isinstance(body, RunCode) else "bash"
        execution = self._executions.begin(ids.execution_id(), session, kind, timeout_s)
        self._background.spawn(self._run(execution, session, place, runner.run(execution, place, body)), execution.id)
        return execution

    async def execution(self, owner: str, execution_id: str) -> Execution:
        """Give an execution that runs, or that ended within the bounds on what is kept.

        Raises:
            NotFound: there is none, or it is another owner's.
            StoreUnavailable: memory has it not and the store does not answer.
            EngineUnavailable: it may be in a sandbox of an earlier controller, and the engine does not answer.
        """
        found = await self._executions.find(owner, execution_id)
        if found is None and ids.is_execution_id(execution_id):
            await self._takeover.ensure()
            found = self._executions.recent(owner, execution_id)
        if found is None:
            raise NotFound(f"no execution {execution_id!r}", suggested_fix="Only recent executions can be asked for.")
        return found

    async def executions(self, session: Session) -> list[Execution]:
        """Give a session's recent executions, newest first. Raises `StoreUnavailable`."""
        return await self._executions.of_session(session.id)

    async def interrupt(self, session: Session) -> int:
        """Ask all that runs in a session to end, and say how many that were."""
        running = self._executions.running_in(session.id)
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
        place = self._places.of(session)
        with place.used():
            given = await place.sandbox()
            return await given.sandbox.restart_kernel()

    @asynccontextmanager
    async def files(self, session: Session) -> AsyncIterator[SandboxFiles]:
        """Open the files of the session's sandbox, which stays awake meanwhile. Raises as `restart_kernel`."""
        self._check_usable(session)
        place = self._places.of(session)
        with place.used():
            given = await place.sandbox()
            yield given.sandbox.files

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

    async def _run(self, execution: Execution, session: Session, place: Place, work: Awaitable[None]) -> None:
        try:
            with place.used(), self.supply.quiet.working():
                await self._executions.follow(execution, work)
        finally:
            self._catalog.touch(session)

    def _check_usable(self, session: Session) -> None:
        if self._closing:
            raise Overloaded("the controller shuts down", retry_after_s=10)
        self._catalog.check_alive(session)

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
        place = self._places.adopt(found)
        for survivor in found.survivors:
            if survivor.id in self._executions:
                continue  # not this agent's to name
            execution = self._executions.begin(
                survivor.id, session, survivor.kind.value, survivor.timeout_s, age_s=survivor.age_s
            )
            work = runner.rejoin(execution, sandbox, survivor)
            self._background.spawn(self._run(execution, session, place, work), execution.id)

    def _leave(self) -> None:
        """Let go of all sandboxes and of what runs in them; the next start finds them."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        executions = [execution.id for execution in self._executions.running if execution.sent]
        why = Overloaded("the controller was shut down", retry_after_s=10)
        left = self._places.leave(why)
        if left:
            log.info("sandboxes are left to the next start", sandboxes=left, executions=executions)

    async def _close_parts(self) -> None:
        for name, close in (("store", self._store.close), ("runtime", self._runtime.close)):
            try:
                async with asyncio.timeout(self._limits.call_deadline_s):
                    await close()
            except (TimeoutError, RuntimeFault, StoreUnavailable) as error:
                log.warning("a part could not be closed", part=name, error=str(error))
