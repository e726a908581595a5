"""The place of one session's sandbox: carries out what the state machine says, and feeds it what happens."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from sandbox.errors import EngineUnavailable, InternalError, Overloaded, RuntimeFault, WorkbenchError
from sandbox.sessions import state as machine
from sandbox.sessions import transitions, words
from sandbox.sessions.background import Background
from sandbox.sessions.debts import Owe
from sandbox.sessions.giving_way import ASKED_S, Unused, may_give_way
from sandbox.sessions.observer import Observer
from sandbox.sessions.reaper import Clock, IdleRules, Reaper, Stage
from sandbox.sessions.rest import Rests
from sandbox.sessions.sandbox import LiveSandbox, SandboxStatus

log = structlog.get_logger(__name__)

Provide = Callable[[], Awaitable[LiveSandbox]]
Fit = Callable[[LiveSandbox], Awaitable[str | None]]
OnSandbox = Callable[[LiveSandbox, Callable[[], AbstractContextManager[None]]], None]

_STAGES: Final[dict[type[machine.State], Stage]] = {
    machine.Live: Stage.LIVE,
    machine.Paused: Stage.PAUSED,
    machine.Stopped: Stage.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Given:
    """A sandbox for somebody who asked.

    `recreated`: in words, that it replaces one that was lost, or was stopped and started again; or None.
    """

    sandbox: LiveSandbox
    recreated: str | None


class Place:
    """At most one sandbox, however many ask at once. Left idle it rests, by `rules`; who asks wakes it.

    `provide` claims or boots one. `owner`: whose it is, for the queue for room. `rests` puts it to rest and wakes it.
    `lost`: why the session has none although it had one before this controller knew it; None for a session that never
    had one. `fit` gives a sandbox the size that the session has now, and says so. `on_sandbox` is called with each
    sandbox before it is used, and with `used`; `on_use` when it is found in use by background jobs; `on_removal` with
    the id of a sandbox that the session has no longer.
    """

    def __init__(
        self,
        session_id: str,
        provide: Provide,
        background: Background,
        observer: Observer,
        *,
        owner: str,
        owe: Owe,
        rests: Rests,
        rules: IdleRules,
        clock: Clock,
        lost: str | None,
        fit: Fit,
        on_sandbox: OnSandbox,
        on_use: Callable[[], None],
        on_removal: Callable[[str], None],
    ) -> None:
        self.session_id = session_id
        self._provide = provide
        self._background = background
        self._observer = observer
        self._fit = fit
        self._fitting = asyncio.Lock()
        self._on_sandbox = on_sandbox
        self._on_use = on_use
        self._on_removal = on_removal
        self._owner = owner
        self._owe = owe
        self._rests = rests
        self._reaper = Reaper(rules, clock, self._idle_for_long)
        self._turn: asyncio.Task[None] | None = None
        self._untold: str | None = None
        self._stopped: str | None = None
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
    def state(self) -> str:
        """The state of its sandbox, in one word."""
        return type(self._state).__name__.lower()

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

    def used(self, *, counts: bool = True) -> AbstractContextManager[None]:
        """Keep the sandbox from being put to rest meanwhile. `counts`: idle time counts anew from the end of it."""
        return self._reaper.used(counts=counts)

    async def status(self) -> SandboxStatus | None:
        """Say how the sandbox is, without waking it; None when there is none, or none yet.

        Raises:
            SandboxGone: it is found not to answer.
        """
        state = self._state
        with self.used(counts=False):
            match state:
                case machine.Live(sandbox_id):
                    return await self._sandboxes[sandbox_id].status()
                case machine.Settling(sandbox_id) | machine.Waking(sandbox_id):
                    return self._sandboxes[sandbox_id].outline(state.rest)
                case machine.Paused(sandbox_id) | machine.Stopped(sandbox_id):
                    return self._sandboxes[sandbox_id].outline(self.state)
                case _:
                    return None

    async def sandbox(self) -> Given:
        """Give the session's sandbox; wake it when it rests, claim or start one when there is none.

        To be used under `used`, or it may be put to rest again at once.

        Cancelling the wait leaves the start alone: others may wait for it, and the next request will.

        Raises:
            WorkbenchError: none could be had.
        """
        waiter: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._feed(machine.Asked())
        return await waiter

    async def fit(self, sandbox: LiveSandbox) -> str | None:
        """Give a sandbox of here the size that the session has now; in words, what came of that, None when it has it.

        To be used under `used`. Of several that ask at once one hears it.
        """
        async with self._fitting:
            return await self._fit(sandbox)

    def adopt(self, sandbox: LiveSandbox, *, stopped: bool, idle_s: float) -> None:
        """Take a sandbox that an earlier controller gave to the session; `stopped`: with its files only.

        `idle_s`: for how long nobody has used it.
        """
        self._reaper.begin(idle_s)
        self._hold(sandbox)
        self._feed(machine.Found(sandbox.sandbox_id, stopped))
        if not stopped:
            sandbox.when_gone(partial(self._gone, sandbox.sandbox_id))

    def leave(self, why: WorkbenchError) -> bool:
        """Never give a sandbox again, but leave the one there is to the next controller; whether there is one."""
        held = self._state.sandbox_id if isinstance(self._state, machine.Held) else None
        self._feed(machine.LeaveAsked(why))
        if held is not None:
            self._rests.forget(held)
            self._sandboxes[held].leave()
        return held is not None

    async def close(self, why: WorkbenchError) -> None:
        """Remove the sandbox and never have one again; who asks or waits gets `why`.

        What runs in the sandbox ends as `sandbox_gone`, with the words of `why` as the cause.
        """
        self._feed(machine.CloseAsked(why))
        while pending := {*self._removals, *({self._start} if self._start is not None else ())}:
            await asyncio.wait(pending)

    def unused(self) -> Unused | None:
        """Give the sandbox if it may be stopped now to make room for others."""
        state, reaper = self._state, self._reaper
        if not isinstance(state, machine.Live | machine.Paused) or not reaper.idle:
            return None
        one = Unused(state.sandbox_id, self.session_id, reaper.idle_s, isinstance(state, machine.Paused))
        return one if may_give_way(reaper.rules, one) else None

    async def give_way(self) -> None:
        """Stop the sandbox before its time if it still may be; comes back when that is over."""
        if (unused := self.unused()) is None:
            return
        if (live := self.live) is not None:
            await self._rest_unless_busy(live, Stage.STOPPED, early=True)
        else:
            self._to(Stage.STOPPED, unused.sandbox_id, early=True)
        if isinstance(self._state, machine.Settling) and self._turn is not None:
            await asyncio.wait({self._turn})

    def _feed(self, event: machine.Event) -> None:
        self._state, instructions = transitions.step(self._state, event)
        self._reaper.at(_STAGES.get(type(self._state)))
        for instruction in instructions:
            self._carry_out(instruction)

    def _carry_out(self, instruction: machine.Instruction) -> None:
        match instruction:
            case machine.Start():
                # Apart: the callbacks of the new sandbox's pipe keep the context for as long as it lives.
                name = f"start for {self.session_id}"
                self._start = self._background.spawn(self._run_start(), name, apart=True)
                self._start.add_done_callback(self._start_done)
            case machine.AbandonStart():
                if self._start is not None:
                    self._start.cancel()
            case machine.Serve():
                self._serve(instruction)
            case machine.Refuse(error):
                self._refuse(error)
            case machine.Remove(sandbox_id):
                self._remove(self._sandboxes[sandbox_id])
            case machine.Pause() | machine.Stop() | machine.Resume() | machine.StartAgain():
                self._take_turn(instruction, self._sandboxes[instruction.sandbox_id])

    async def _run_start(self) -> None:
        # Whatever happens in here, those who wait are told.
        event: machine.Event = machine.StartFailed(
            InternalError("the start of the sandbox broke off; the log says why")
        )
        try:
            sandbox = await self._provide()
            self._hold(sandbox)
            event = machine.Started(sandbox.sandbox_id)
        except WorkbenchError as error:
            log.warning("no sandbox could be had", session=self.session_id, error=error.slug, message=str(error))
            event = machine.StartFailed(error)
        finally:
            self._feed(event)
        if isinstance(event, machine.Started):
            sandbox.when_gone(partial(self._gone, sandbox.sandbox_id))

    def _hold(self, sandbox: LiveSandbox) -> None:
        self._sandboxes[sandbox.sandbox_id] = sandbox
        self._on_sandbox(sandbox, self.used)

    def _gone(self, sandbox_id: str, cause: str) -> None:
        sandbox = self._sandboxes[sandbox_id]
        if not self.closing:
            log.warning("sandbox gone", session=self.session_id, sandbox=sandbox_id, cause=cause)
            self._observer.sandbox_gone()
            if (failure := sandbox.peer.failure) is not None:
                self._observer.fault("pipe", failure.slug)
        self._stopped = words.ended(cause) if sandbox.ended else None
        self._feed(machine.Gone(sandbox_id, cause, sandbox.ended))

    def _start_done(self, task: asyncio.Task[None]) -> None:
        if self._start is task:
            self._start = None

    def _serve(self, serve: machine.Serve) -> None:
        told = words.lost_before(serve, self._stopped) or self._untold
        self._stopped = None
        given = Given(self._sandboxes[serve.sandbox_id], told)
        waiters, self._waiters = self._waiters, []
        waiting = [waiter for waiter in waiters if not waiter.done()]
        for waiter in waiting:
            waiter.set_result(given)
        # All who waited may have left: then the next one is told what was lost.
        self._untold = None if waiting else told

    def _refuse(self, error: WorkbenchError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    # --- rest -----------------------------------------------------------------------------------------

    def _idle_for_long(self, stage: Stage) -> None:
        live = self.live
        if live is not None:
            self._background.spawn(self._rest_unless_busy(live, stage), f"rest of {live.sandbox_id}")
        elif isinstance(self._state, machine.Paused | machine.Stopped):
            self._to(stage, self._state.sandbox_id)

    async def _rest_unless_busy(self, sandbox: LiveSandbox, stage: Stage, *, early: bool = False) -> None:
        since = self._reaper.idle_since
        try:
            async with asyncio.timeout(ASKED_S if early else None):
                with self.used(counts=False):
                    busy = self._reaper.rules.background_jobs_keep_awake and await sandbox.has_jobs()
            if busy:
                self._on_use()
        except (WorkbenchError, TimeoutError) as error:
            why = str(error) or "no answer"
            log.warning("whether a sandbox is busy is not known", sandbox=sandbox.sandbox_id, error=why)
            busy = True
        if self._reaper.idle and self._reaper.idle_since == since and self.live is sandbox:
            if busy or not sandbox.connected:
                self._reaper.stay()
            else:
                self._to(stage, sandbox.sandbox_id, early=early)

    def _to(self, stage: Stage, sandbox_id: str, *, early: bool = False) -> None:
        match stage:
            case Stage.PAUSED:
                self._feed(machine.RestAsked(sandbox_id, machine.Rest.PAUSED))
            case Stage.STOPPED:
                self._stopped = words.STOPPED_EARLY if early else None
                self._feed(machine.RestAsked(sandbox_id, machine.Rest.STOPPED))
            case Stage.REMOVED:
                self._observer.sandbox_expired()
                self._feed(machine.Expired(sandbox_id, words.expired(self._reaper.rules.remove_after_s)))

    def _take_turn(self, instruction: machine.Turn, sandbox: LiveSandbox) -> None:
        """Rest and waking of a sandbox never overlap: each is told to the state machine at its very end."""
        match instruction:
            case machine.Pause():
                work = self._run_rest(sandbox, machine.Rest.PAUSED)
            case machine.Stop():
                work = self._run_rest(sandbox, machine.Rest.STOPPED)
            case machine.Resume():
                work = self._run_wake(sandbox, machine.Rest.PAUSED)
            case machine.StartAgain():
                work = self._run_wake(sandbox, machine.Rest.STOPPED)
        # Apart, as starts are; what is logged in there names the session.
        self._turn = self._background.spawn(work, f"rest or waking for {self.session_id}", apart=True)

    async def _run_rest(self, sandbox: LiveSandbox, rest: machine.Rest) -> None:
        structlog.contextvars.bind_contextvars(session=self.session_id)
        try:
            await self._rests.put_to_rest(sandbox, rest, early=self._stopped == words.STOPPED_EARLY)
        except RuntimeFault as error:
            log.warning("a sandbox could not be put to rest", sandbox=sandbox.sandbox_id, error=str(error))
        finally:
            self._feed(machine.Rested(sandbox.sandbox_id))

    async def _run_wake(self, sandbox: LiveSandbox, rest: machine.Rest) -> None:
        structlog.contextvars.bind_contextvars(session=self.session_id)
        woken = sandbox
        sandbox_id = sandbox.sandbox_id
        event: machine.Event = machine.WakeFailed(sandbox_id, "the waking of the old one broke off")
        try:
            woken = await self._rests.wake(sandbox, rest, self._owner)
            self._hold(woken)
            event = machine.Woken(sandbox_id, restarted=woken is not sandbox)
        except (EngineUnavailable, Overloaded) as error:
            event = machine.WakeRefused(sandbox_id, error)
        except WorkbenchError as error:
            log.warning("a sandbox could not be woken", sandbox=sandbox_id, error=str(error))
            event = machine.WakeFailed(sandbox_id, f"the old one could not be woken: {' '.join(error.message.split())}")
        finally:
            self._feed(event)
        if woken is not sandbox:
            woken.when_gone(partial(self._gone, sandbox_id))
            if self.closing:
                woken.retire("the session was closed")

    # --- removal --------------------------------------------------------------------------------------

    def _remove(self, sandbox: LiveSandbox) -> None:
        if isinstance(self._state, machine.Closed):
            sandbox.retire(self._state.why.message)
        elif isinstance(self._state, machine.Removing) and self._state.known:
            sandbox.when_gone(lambda _cause: None)  # removed on purpose, it is no surprise
            sandbox.retire(self._state.lost)
        self._on_removal(sandbox.sandbox_id)
        task = self._background.spawn(self._run_removal(sandbox), f"removal of {sandbox.sandbox_id}")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _run_removal(self, sandbox: LiveSandbox) -> None:
        cause = "its removal broke off"
        if self._turn is not None:
            await asyncio.wait({self._turn})
        try:
            cause = await sandbox.remove()
        except RuntimeFault as error:
            cause = await sandbox.cause()
            log.warning("a sandbox could not be removed yet", sandbox=sandbox.sandbox_id, error=str(error))
            self._owe(sandbox.sandbox_id)
        else:
            log.info("sandbox removed", session=self.session_id, sandbox=sandbox.sandbox_id, cause=cause)
        finally:
            del self._sandboxes[sandbox.sandbox_id]
            self._feed(machine.Removed(sandbox.sandbox_id, cause))
