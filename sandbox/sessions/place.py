"""The place of one session's sandbox: carries out what the state machine says, and feeds it what happens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from sandbox.errors import InternalError, RuntimeFault, WorkbenchError
from sandbox.sessions import state as machine
from sandbox.sessions.background import Background
from sandbox.sessions.observer import Observer
from sandbox.sessions.sandbox import LiveSandbox

log = structlog.get_logger(__name__)

Provide = Callable[[], Awaitable[LiveSandbox]]


@dataclass(frozen=True, slots=True)
class Given:
    """A sandbox for somebody who asked. `recreated`: in words, that it replaces one that was lost, or None."""

    sandbox: LiveSandbox
    recreated: str | None


class Place:
    """At most one sandbox, however many ask at once.

    `provide` claims or boots one. `lost`: why the session has none although it had one before this controller
    knew it; None for a session that never had one.
    """

    def __init__(
        self,
        session_id: str,
        provide: Provide,
        background: Background,
        observer: Observer,
        *,
        lost: str | None,
    ) -> None:
        self.session_id = session_id
        self._provide = provide
        self._background = background
        self._observer = observer
        self._state: machine.State = machine.Absent(lost)
        self._sandboxes: dict[str, LiveSandbox] = {}
        self._waiters: list[asyncio.Future[Given]] = []
        self._start: asyncio.Task[None] | None = None
        self._removals: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether it has no sandbox, and none under way."""
        return isinstance(self._state, machine.Absent)

    @property
    def closing(self) -> bool:
        """Whether it was closed."""
        return isinstance(self._state, machine.Closed)

    @property
    def live(self) -> LiveSandbox | None:
        """The sandbox, if it can be used now."""
        if isinstance(self._state, machine.Live):
            return self._sandboxes[self._state.sandbox_id]
        return None

    async def sandbox(self) -> Given:
        """Give the session's sandbox; claim or start one when there is none.

        Cancelling the wait leaves the start alone: others may wait for it, and the next request will.

        Raises:
            WorkbenchError: none could be had.
        """
        waiter: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._feed(machine.Asked())
        return await waiter

    async def close(self, why: WorkbenchError) -> None:
        """Remove the sandbox and never have one again; who asks or waits gets `why`.

        What runs in the sandbox ends as `sandbox_gone`, with the words of `why` as the cause.
        """
        self._feed(machine.CloseAsked(why))
        while pending := {*self._removals, *({self._start} if self._start is not None else ())}:
            await asyncio.wait(pending)

    def _feed(self, event: machine.Event) -> None:
        self._state, instructions = machine.step(self._state, event)
        for instruction in instructions:
            self._carry_out(instruction)

    def _carry_out(self, instruction: machine.Instruction) -> None:
        match instruction:
            case machine.Start():
                self._start = self._background.spawn(self._run_start(), f"start for {self.session_id}")
                self._start.add_done_callback(self._start_done)
            case machine.AbandonStart():
                if self._start is not None:
                    self._start.cancel()
            case machine.Serve(sandbox_id, lost):
                self._serve(Given(self._sandboxes[sandbox_id], _words(lost)))
            case machine.Refuse(error):
                self._refuse(error)
            case machine.Remove(sandbox_id):
                self._remove(self._sandboxes[sandbox_id])

    async def _run_start(self) -> None:
        # Whatever happens in here, those who wait are told.
        event: machine.Event = machine.StartFailed(
            InternalError("the start of the sandbox broke off; the log says why")
        )
        try:
            sandbox = await self._provide()
            self._sandboxes[sandbox.sandbox_id] = sandbox
            event = machine.Started(sandbox.sandbox_id)
        except WorkbenchError as error:
            log.warning("no sandbox could be had", session=self.session_id, error=error.slug, message=error.message)
            event = machine.StartFailed(error)
        finally:
            self._feed(event)
        if isinstance(event, machine.Started):
            sandbox.when_gone(partial(self._gone, sandbox.sandbox_id))

    def _gone(self, sandbox_id: str, cause: str) -> None:
        if not self.closing:
            log.warning("sandbox gone", session=self.session_id, sandbox=sandbox_id, cause=cause)
            self._observer.sandbox_gone()
        self._feed(machine.Gone(sandbox_id, cause))

    def _start_done(self, task: asyncio.Task[None]) -> None:
        if self._start is task:
            self._start = None

    def _serve(self, given: Given) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(given)

    def _refuse(self, error: WorkbenchError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _remove(self, sandbox: LiveSandbox) -> None:
        if isinstance(self._state, machine.Closed):
            sandbox.retire(self._state.why.message)
        task = self._background.spawn(self._run_removal(sandbox), f"removal of {sandbox.sandbox_id}")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _run_removal(self, sandbox: LiveSandbox) -> None:
        cause = "its removal broke off"
        try:
            cause = await sandbox.remove()
        except RuntimeFault as error:
            cause = await sandbox.cause()
            log.warning("a sandbox could not be removed", sandbox=sandbox.sandbox_id, error=error.message)
        finally:
            del self._sandboxes[sandbox.sandbox_id]
            self._feed(machine.Removed(sandbox.sandbox_id, cause))
        log.info("sandbox removed", session=self.session_id, sandbox=sandbox.sandbox_id, cause=cause)


def _words(lost: str | None) -> str | None:
    if lost is None:
        return None
    return f"The session has a new sandbox: {lost}. Variables and files of the old one are lost."
