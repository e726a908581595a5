"""What the engine and the pipe have to do when a sandbox rests and when it is woken. Everything under deadlines."""

import asyncio
from collections.abc import Awaitable
from time import monotonic

import structlog

from sandbox.errors import CallFault, EngineUnavailable, PipeError, SandboxGone
from sandbox.runtimes.base import Condition, Runtime
from sandbox.sessions.admission import Admission
from sandbox.sessions.engine_calls import start_failed
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.state import Rest

log = structlog.get_logger(__name__)

STOPPED = "it was stopped"
STOPPED_EARLY = "stopped_early"
"""How a stop that makes room is counted."""


class Rests:
    """Puts sandboxes to rest and wakes them. A stopped one gives up its room, and needs room to be started again."""

    def __init__(self, runtime: Runtime, limits: SessionLimits, observer: Observer, admission: Admission) -> None:
        self._runtime = runtime
        self._limits = limits
        self._observer = observer
        self._admission = admission

    async def put_to_rest(self, sandbox: LiveSandbox, rest: Rest, *, early: bool = False) -> None:
        """Freeze a sandbox, or end what runs in it and keep its files.

        A stopped one is of use for `wake` and `remove` only. `early`: to make room, before its time.

        Raises:
            RuntimeFault: the engine could not, or not in time. It may rest or not; `wake` is right for both.
        """
        began = monotonic()
        sandbox_id = sandbox.sandbox_id
        if rest is Rest.PAUSED:
            sandbox.rest()
            await self._within(self._runtime.pause(sandbox_id), f"pause sandbox {sandbox_id}")
        else:
            sandbox.when_gone(_expected)
            sandbox.retire(STOPPED)
            await self._within(self._runtime.stop(sandbox_id), f"stop sandbox {sandbox_id}")
            self._admission.leave(sandbox_id)
        counted = STOPPED_EARLY if early else rest
        self._observer.sandbox_rested(counted, monotonic() - began)
        log.info("sandbox at rest", sandbox=sandbox_id, rest=counted)

    def forget(self, sandbox_id: str) -> None:
        """End a wait for room to wake this sandbox: nobody needs it any more."""
        if not self._admission.holds(sandbox_id):
            self._admission.leave(sandbox_id)

    async def wake(self, sandbox: LiveSandbox, rest: Rest, owner: str) -> LiveSandbox:
        """Let a frozen sandbox go on, over its old pipe or a new one; start a stopped one with a new agent and kernel.

        What comes back is another object when it was started again: also a frozen one that was ended from outside.
        `owner`: whose turn it takes in the queue for room.

        Raises:
            EngineUnavailable: the engine does not answer; it may be tried again.
            Overloaded: there is no room for it now; it may be tried again.
            WorkbenchError: it is of no more use; a start that failed has the agent's last words.
        """
        began = monotonic()
        if rest is Rest.STOPPED or not await self._resumed(sandbox):
            rest, sandbox = Rest.STOPPED, await self._start_again(sandbox, owner)
        self._observer.sandbox_woken(rest, monotonic() - began)
        log.info("sandbox woken", sandbox=sandbox.sandbox_id, rest=rest)
        return sandbox

    async def _resumed(self, sandbox: LiveSandbox) -> bool:
        """Whether a frozen sandbox goes on; if not, it was ended from outside and has its files only."""
        sandbox_id = sandbox.sandbox_id
        try:
            await self._within(self._runtime.resume(sandbox_id), f"resume sandbox {sandbox_id}")
        except SandboxGone:
            if (await self._runtime.inspect(sandbox_id)).condition is not Condition.EXITED:
                raise
            sandbox.when_gone(_expected)
            sandbox.retire(STOPPED)
            return False
        sandbox.wake()
        return True

    async def _start_again(self, stopped: LiveSandbox, owner: str) -> LiveSandbox:
        sandbox_id = stopped.sandbox_id
        # One whose stop failed, or that was ended from outside, has kept its room.
        had_room = self._admission.holds(sandbox_id)
        if not had_room:
            await self._admission.enter(sandbox_id, stopped.spec.size.memory_bytes, owner)
        try:
            return await self._start(stopped, had_room=had_room)
        except TimeoutError:
            why = f"it was not ready within {self._limits.boot_deadline_s:g} s"
            raise await start_failed(self._runtime, sandbox_id, why) from None
        except (PipeError, CallFault, SandboxGone) as error:
            raise await start_failed(self._runtime, sandbox_id, error.message, error.suggested_fix) from error
        finally:
            self._admission.started(sandbox_id)

    async def _start(self, stopped: LiveSandbox, *, had_room: bool) -> LiveSandbox:
        sandbox_id = stopped.sandbox_id
        fresh: LiveSandbox | None = None
        may_run = had_room
        try:
            async with asyncio.timeout(self._limits.boot_deadline_s):
                # A stop that failed may have left it running.
                await self._runtime.stop(sandbox_id)
                may_run = True
                await self._runtime.start(sandbox_id)
                link = await self._runtime.open(sandbox_id)
                fresh = LiveSandbox(self._runtime, stopped.spec, link, self._limits)
                await fresh.ready()
        except BaseException:
            if fresh is not None:
                fresh.retire("its start failed")
            if not may_run:
                self._admission.leave(sandbox_id)
            raise
        return fresh

    async def _within(self, act: Awaitable[None], what: str) -> None:
        deadline_s = self._limits.call_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                await act
        except TimeoutError:
            raise EngineUnavailable(
                f"the engine did not {what} within {deadline_s:g} s",
                suggested_fix="Look at the engine: `workbench doctor`.",
            ) from None


def _expected(_reason: str) -> None:
    """A stopped sandbox's pipe ends; that is no loss."""
