"""How the sessions of a controller begin and end: from the one before it, and to the next."""

import asyncio

import structlog

from sandbox.errors import Overloaded, RuntimeFault, StoreUnavailable
from sandbox.sessions.parts import Given, Parts

log = structlog.get_logger(__name__)


class Life:
    """`start_up` first, `aclose` last; every step of both has its deadline."""

    def __init__(self, given: Given, parts: Parts) -> None:
        self._runtime = given.runtime
        self._store = given.store
        self._limits = given.limits
        self._parts = parts
        self._closed = False
        self._leaving: asyncio.TimerHandle | None = None
        self.closing = False
        """Whether nothing new is taken any more."""

    async def start_up(self) -> None:
        """Open the store, take over what an earlier controller left, begin to fill the pool.

        An engine that does not answer is asked again in the background.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        await self._store.open()
        self._parts.sweep.start(self._parts.background)
        try:
            await self._parts.takeover.ensure()
        except (RuntimeFault, StoreUnavailable) as error:
            log.warning("what earlier sandboxes are left is not known", error=str(error), fix=error.suggested_fix)
            self._parts.background.spawn_lasting(self._start_up_later(), "start without an engine")
        else:
            self._parts.supply.start()

    def stop_taking(self) -> None:
        """Take no new executions: the first step of a shutdown. What runs is asked to end.

        Where sandboxes are kept it gets `shutdown_grace_s` for that instead, and is then left to the next controller.
        """
        if self.closing:
            return
        self.closing = True
        if self._limits.keep_sandboxes:
            self._leaving = asyncio.get_running_loop().call_later(self._limits.shutdown_grace_s, self._leave)
            return
        for execution in self._parts.executions.running:
            execution.interrupt()

    def stop_running(self) -> None:
        """Wait for nothing that runs any more: it is left to the next controller, or ends with its sandbox, now."""
        self.stop_taking()
        if self._limits.keep_sandboxes:
            self._leave()
        else:
            self._parts.background.spawn(self._parts.places.close(_shut_down()), "end without a wait")

    async def aclose(self) -> None:
        """Interrupt what runs and remove all sandboxes, or leave both; close store and runtime."""
        if self._closed:
            return
        self._closed = True
        self.stop_taking()
        if self._limits.keep_sandboxes:
            self._leave()
        await self._parts.executions.until_idle(self._limits.shutdown_grace_s)
        try:
            async with asyncio.timeout(self._limits.call_deadline_s), asyncio.TaskGroup() as group:
                group.create_task(self._parts.supply.aclose())
                group.create_task(self._parts.places.close(_shut_down()))
        except TimeoutError:
            log.warning("not all sandboxes could be removed in time; the next start removes them")
        self._parts.executions.results.hurry()
        await self._parts.background.settle(self._limits.shutdown_grace_s)
        await self._parts.background.aclose(self._limits.call_deadline_s)
        await self._close_given()

    async def _start_up_later(self) -> None:
        await self._parts.takeover.ensure_in_the_end()
        if not self.closing:
            self._parts.supply.start()

    def _leave(self) -> None:
        """Let go of all sandboxes and of what runs in them; the next start finds them."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        executions = [execution.id for execution in self._parts.executions.running if execution.sent]
        left = self._parts.places.leave(_shut_down())
        if left:
            log.info("sandboxes are left to the next start", sandboxes=left, executions=executions)

    async def _close_given(self) -> None:
        for name, close in (("store", self._store.close), ("runtime", self._runtime.close)):
            try:
                async with asyncio.timeout(self._limits.call_deadline_s):
                    await close()
            except (TimeoutError, RuntimeFault, StoreUnavailable) as error:
                log.warning("a part could not be closed", part=name, error=str(error))


def _shut_down() -> Overloaded:
    return Overloaded("the controller was shut down", retry_after_s=10)
