"""What the engine and the pipe have to do when a sandbox rests and when it is woken. Everything under deadlines."""

import asyncio
from collections.abc import Awaitable
from time import monotonic

import structlog

from sandbox.errors import EngineUnavailable, SandboxGone
from sandbox.runtimes.base import Runtime
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.state import Rest

log = structlog.get_logger(__name__)

STOPPED = "it was stopped"


class Rests:
    """Puts sandboxes to rest and wakes them."""

    def __init__(self, runtime: Runtime, limits: SessionLimits, observer: Observer) -> None:
        self._runtime = runtime
        self._limits = limits
        self._observer = observer

    async def put_to_rest(self, sandbox: LiveSandbox, rest: Rest) -> None:
        """Freeze a sandbox, or end what runs in it and keep its files.

        A stopped one is of use for `wake` and `remove` only.

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
        self._observer.sandbox_rested(rest, monotonic() - began)
        log.info("sandbox at rest", sandbox=sandbox_id, rest=rest)

    async def wake(self, sandbox: LiveSandbox, rest: Rest) -> LiveSandbox:
        """Let a frozen sandbox go on, over its old pipe or a new one; start a stopped one with a new agent and kernel.

        Raises:
            EngineUnavailable: the engine does not answer; it may be tried again.
            WorkbenchError: it is of no more use.
        """
        began = monotonic()
        sandbox_id = sandbox.sandbox_id
        if rest is Rest.PAUSED:
            await self._within(self._runtime.resume(sandbox_id), f"resume sandbox {sandbox_id}")
            sandbox.wake()
        else:
            sandbox = await self._start_again(sandbox)
        self._observer.sandbox_woken(rest, monotonic() - began)
        log.info("sandbox woken", sandbox=sandbox_id, rest=rest)
        return sandbox

    async def _start_again(self, stopped: LiveSandbox) -> LiveSandbox:
        sandbox_id, deadline_s = stopped.sandbox_id, self._limits.boot_deadline_s
        fresh: LiveSandbox | None = None
        try:
            async with asyncio.timeout(deadline_s):
                # A stop that failed may have left it running.
                await self._runtime.stop(sandbox_id)
                await self._runtime.start(sandbox_id)
                link = await self._runtime.open(sandbox_id)
                fresh = LiveSandbox(self._runtime, stopped.spec, link, self._limits)
                await fresh.ready()
        except BaseException as error:
            if fresh is not None:
                fresh.retire("its start failed")
            if isinstance(error, TimeoutError):
                raise SandboxGone(f"it was not ready within {deadline_s:g} s") from None
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
