"""The sessions: which one a request means, where it runs, and how all of it begins and ends.

The hot path (a session in memory with a live sandbox) touches no database and waits for nothing but the pipe.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic

from sandbox.errors import NotFound, Overloaded
from sandbox.pipe.messages import Status
from sandbox.runtimes.base import Runtime
from sandbox.sessions import ids, source
from sandbox.sessions.catalog import not_found
from sandbox.sessions.configs import Configs
from sandbox.sessions.execution import Execution
from sandbox.sessions.helper_port import AnswersHelpers, SandboxFiles
from sandbox.sessions.life import Life
from sandbox.sessions.observer import NoObserver, Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.parts import Given, assemble
from sandbox.sessions.reaper import Clock
from sandbox.sessions.sandbox import SandboxStatus
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig
from sandbox.sessions.store import Store
from sandbox.sessions.supply import POOL_SIZE_NAME


def _now() -> datetime:
    return datetime.now(UTC)


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
        given = Given(
            runtime,
            store,
            installation,
            limits or SessionLimits(),
            observer or NoObserver(),
            clock,
            timers,
            helpers,
        )
        parts = assemble(given)
        self._observer = given.observer
        self._background = parts.background
        self._catalog = parts.catalog
        self._runs = parts.runs
        self._places = parts.places
        self._executions = parts.executions
        self._takeover = parts.takeover
        self._life = Life(given, parts)
        self.supply = parts.supply
        self.pool = self.supply.pools[POOL_SIZE_NAME]
        self.configs = Configs(self._catalog, store, clock, changed=self._places.reconfigured)

    # --- life ---------------------------------------------------------------------------------------

    async def start_up(self) -> None:
        """Open the store, take over what an earlier controller left, begin to fill the pool.

        An engine that does not answer is asked again in the background.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        await self._life.start_up()

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
        self._life.stop_taking()

    def stop_running(self) -> None:
        """Wait for nothing that runs any more: it is left to the next controller, or ends with its sandbox, now."""
        self._life.stop_running()

    async def aclose(self) -> None:
        """Interrupt what runs and remove all sandboxes, or leave both; close store and runtime.

        Every part has its deadline.
        """
        await self._life.aclose()

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
            StoreUnavailable: the store does not answer; then the session goes on, and may be deleted again.
        """
        session = await self._catalog.get(owner, session_id)
        await self._background.whole(self._delete(session), f"deletion of {session.id}")

    # --- executions ---------------------------------------------------------------------------------

    async def start(self, session: Session, body: source.Run, *, timeout_s: float) -> Execution:
        """Begin to run code or a command, and return at once: a sandbox is found or started on the way.

        Raises:
            NotFound: the session was deleted meanwhile.
            PayloadTooLarge, InvalidArguments: the source cannot be sent.
            Overloaded: the controller shuts down.
        """
        self._check_usable(session)
        return self._runs.start(session, body, timeout_s)

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

    async def _delete(self, session: Session) -> None:
        was_there = await self._catalog.delete(session)
        await self._places.remove(session.id, NotFound("the session was deleted"))
        self._executions.forget_session(session.id)
        if not was_there:
            raise not_found(session.id)

    def _check_usable(self, session: Session) -> None:
        if self._life.closing:
            raise Overloaded("the controller shuts down", retry_after_s=10)
        self._catalog.check_alive(session)
