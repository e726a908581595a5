"""One cell on the kernel, from its sending to its end: deadline, interruption, kill."""

import asyncio
from collections.abc import Callable
from typing import Final

from sandbox.agent.cell import Cell, Emit
from sandbox.agent.kernel import Kernel
from sandbox.agent.kernel_keeper import KernelKeeper
from sandbox.agent.kernel_wire import REPLY_MISSING, Message
from sandbox.agent.processes import Exit
from sandbox.agent.resources import oom_kills
from sandbox.limits import INTERRUPT_GRACE_S
from sandbox.pipe.messages import Action, Ending, LiveAction, Started

_SHORT_S: Final = 0.05
"""Cells that end within this time cost no task that waits for an interruption."""

_REPEAT_S: Final = 1.0
_KILL_WAIT_S: Final = 10.0
_REPLY_WAIT_S: Final = 3.0
"""A kernel sends its reply right before it says that it is idle; a reply that is late by this much will not come."""


class Execution:
    """Runs one cell. `done` is resolved when it has ended, in whatever way.

    `why`: set when it was stopped (`timed_out`, `interrupted`), with what was done in `action`. `died`: how the
    kernel ended under it; `condemned`: it is being killed for this cell. `lasted`: it was no short cell.
    `oom_kills_before`: as `resources.oom_kills` gave it at its beginning. `on_stop` is called when it is ended early.
    """

    def __init__(
        self,
        kernel: Kernel,
        keeper: KernelKeeper,
        cell: Cell,
        interrupted: asyncio.Event,
        emit: Emit | None,
        *,
        on_stop: Callable[[], None],
    ) -> None:
        self.cell = cell
        self.why: Ending | None = None
        self.action = Action.NONE
        self.died: Exit | None = None
        self.condemned = False
        self.lasted = False
        self.oom_kills_before = 0
        self._kernel = kernel
        self._keeper = keeper
        self._interrupted = interrupted
        self._emit = emit
        self._on_stop = on_stop
        self._loop = asyncio.get_running_loop()
        self._msg_id = ""
        self._stopped_at = 0.0
        self._unanswered = False
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()

    def begin(self, code: str, timeout_s: float, waited_ms: float = 0.0) -> None:
        """Send the cell to the kernel; its time counts from now. `waited_ms`: how long it stood in the queue."""
        if self._emit is not None:
            self._emit(Started(waited_ms))
        deadline = self._loop.time() + timeout_s
        self._timer = self._loop.call_later(min(_SHORT_S, timeout_s), self._watch_on, deadline)
        self._msg_id = self._kernel.execute(code)
        # Now, while the kernel works: nobody waits for it, and no cell uses up the memory in less time than this takes.
        self.oom_kills_before = oom_kills()

    def said(self, message: Message) -> None:
        """Take a message of the kernel."""
        self.cell.take(message.content, own=message.parent == self._msg_id)
        if self.cell.ended:
            self._finish()
        elif self.cell.idle and self.why is None and not self._unanswered:
            self._unanswered = True
            self._schedule(_REPLY_WAIT_S, self._answer_missing)

    def kernel_ended(self, how: Exit) -> None:
        """The kernel is gone: nothing more will come."""
        if self.done.done():
            return
        self._on_stop()
        self.died = how
        if self.why is not None:
            self.action = Action.KERNEL_RESTARTED
        self._finish()

    def stop(self, why: Ending) -> None:
        """Interrupt the cell, again and again; after the grace its kernel is killed."""
        if self.why is None and not self.done.done():
            self.why = why
            self._stopped_at = self._loop.time()
            self._on_stop()
            self._interrupt()

    def kill(self, why: Ending) -> None:
        """End the cell with its kernel, at once."""
        if self.done.done():
            return
        self.why = self.why or why
        self.condemned = True
        self._on_stop()
        self._act(Action.KERNEL_RESTARTED)
        self._keeper.kill()
        # A process that hangs in the machine's kernel does not die; nobody has to wait for that.
        self._schedule(_KILL_WAIT_S, self._finish)

    def close(self) -> None:
        """Let go of timers and tasks; may be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _watch_on(self, deadline: float) -> None:
        """It is no short cell: from now on look for its interruption and its deadline."""
        self.lasted = True
        self._timer = self._loop.call_at(deadline, self.stop, Ending.TIMED_OUT)
        self._watch = self._loop.create_task(self._watch_interrupted())

    async def _watch_interrupted(self) -> None:
        await self._interrupted.wait()
        self.stop(Ending.INTERRUPTED)

    def _interrupt(self) -> None:
        waited = self._loop.time() - self._stopped_at
        if waited > 0 and self.cell.idle:
            # The interrupt hit the kernel while it wrote its reply: there will be none.
            self._finish()
        elif waited >= INTERRUPT_GRACE_S and self.why is not None:
            self.kill(self.why)
        else:
            if self.action is Action.NONE:
                self._act(Action.INTERRUPTED)
            self._kernel.interrupt()
            self._schedule(min(_REPEAT_S, INTERRUPT_GRACE_S - waited), self._interrupt)

    def _answer_missing(self) -> None:
        """User code broke what the kernel replies with: the cell has ended all the same."""
        self.cell.reply = self.cell.reply or REPLY_MISSING
        self._finish()

    def _act(self, action: Action) -> None:
        self.action = action
        if self._emit is not None and self.why is not None:
            self._emit(LiveAction(action, self.why))

    def _schedule(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, callback)

    def _finish(self) -> None:
        self.close()
        if not self.done.done():
            self.done.set_result(None)
