"""The queue of cells: one at a time on the kernel, first come first served."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sandbox.agent.callers import Callers
from sandbox.agent.cell import Cell, CellStreams
from sandbox.agent.cell_result import cell_result
from sandbox.agent.execution import Execution
from sandbox.agent.kernel import Kernel, describe
from sandbox.agent.kernel_keeper import KernelKeeper
from sandbox.agent.kernel_wire import Message, Reply, Status
from sandbox.agent.late import LateMessages
from sandbox.agent.live import LiveText
from sandbox.agent.output import SpillNames
from sandbox.agent.processes import Exit, ProcessTable
from sandbox.errors import CallFault
from sandbox.limits import EXECUTIONS_QUEUED_MAX, OUTPUT_SUBDIR
from sandbox.pipe.messages import Action, CodeResult, Ending, KernelState, Progress, StreamName


class Cells:
    """Runs cells on the one kernel of the sandbox.

    `python`: the user's interpreter. `files`: where spills and artifacts go, below its output folder. `private`: a
    folder of mode 0700 with a short path, for the kernel's sockets. `env`: the kernel's whole environment. `callers`
    hears of each cell.
    """

    def __init__(
        self,
        *,
        python: str,
        home: Path,
        files: Path,
        private: Path,
        processes: ProcessTable,
        names: SpillNames,
        env: Mapping[str, str],
        callers: Callers | None = None,
    ) -> None:
        self._callers = callers or Callers()
        self._folder = files / OUTPUT_SUBDIR
        self._names = names
        self._keeper = KernelKeeper(self, python=python, home=home, private=private, processes=processes, env=env)
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._execution: Execution | None = None
        self._early: CellStreams | None = None
        self._late = LateMessages()
        self._lost: str | None = None

    async def start(self) -> None:
        """Start the kernel; returns when it is launched, before it is ready."""
        self._keeper.launch()

    async def ready(self) -> None:
        """Wait until the kernel can take a cell.

        Raises:
            CallFault: `kernel_start_failed`, with the kernel's last words.
        """
        await self._keeper.ready()

    async def run(
        self,
        code: str,
        *,
        timeout_s: float,
        queue_timeout_s: float,
        interrupted: asyncio.Event,
        emit: Callable[[Progress], None] | None,
        execution_id: str = "",
    ) -> CodeResult:
        """Run a cell when its turn comes and say how it ended.

        `queue_timeout_s` bounds all that comes before its start: the wait for its turn and for a kernel. When no kernel
        can be started (user code broke its own environment), the ending is `kernel_died`, not started, with the
        kernel's last words in `note`; the next cell tries again.

        Raises:
            CallFault: `busy` when too many cells wait already.
        """
        if len(self._waiting) >= EXECUTIONS_QUEUED_MAX:
            raise CallFault("busy", f"{len(self._waiting)} executions wait for the kernel already")
        asked_at = time.perf_counter()
        at_once = not self._taken and self._keeper.usable is not None
        if (ending := await self._turn(queue_timeout_s, interrupted)) is not None:
            return CodeResult(ending=ending, action=Action.NOT_STARTED)
        try:
            # In a loop: a kernel may end in the moment between its readiness and our turn.
            while (kernel := self._keeper.usable) is None:
                left_s = asked_at + queue_timeout_s - time.perf_counter()
                if (ending := await self._kernel_ready(left_s, interrupted)) is not None:
                    note = "no kernel was ready in time" if ending is Ending.TIMED_OUT else None
                    return CodeResult(ending=ending, action=Action.NOT_STARTED, note=note)
            waited_ms = 0.0 if at_once else round((time.perf_counter() - asked_at) * 1000, 3)
            begin = partial(Execution.begin, code=code, timeout_s=timeout_s, waited_ms=waited_ms)
            return await self._run(kernel, begin, interrupted, emit, execution_id=execution_id)
        except CallFault as fault:
            return CodeResult(Ending.KERNEL_DIED, Action.NOT_STARTED, variables_kept=False, note=fault.message)
        finally:
            self._execution = None
            self._pass_on()

    async def restart(self) -> None:
        """Kill the kernel and wait for a new one; a cell that runs ends as `interrupted`, variables lost.

        Raises:
            CallFault: `kernel_start_failed`, with the kernel's last words.
        """
        if self._execution is not None:
            self._execution.kill(Ending.INTERRUPTED)
        self._keeper.kill()
        await self._keeper.ready()

    def state(self) -> tuple[KernelState, int | None, int, int]:
        """Give the kernel's state and process id, how many cells run (0 or 1), and how many wait."""
        running = self._execution is not None
        state = self._keeper.state
        if running and state is KernelState.IDLE:
            state = KernelState.BUSY
        return state, self._keeper.pid, int(running), len(self._waiting)

    async def aclose(self) -> None:
        """Kill the kernel for good. What runs or waits is to be cancelled by its caller."""
        await self._keeper.aclose()

    # --- what the kernel tells (KernelUser) ---

    def output(self, stream: StreamName, data: bytes) -> None:
        """Text belongs to the cell that runs, or else to the next one."""
        if self._execution is not None:
            streams = self._execution.cell.streams
        else:
            streams = self._early = self._early or self._new_streams(early=True)
        streams.captures[stream].feed(data)

    def said(self, message: Message) -> None:
        """A message belongs to the cell that runs; a display between two cells to the next one."""
        if self._execution is not None:
            self._execution.said(message)
        elif not isinstance(message.content, Status | Reply):
            self._late.add(message)

    def kernel_ended(self, how: Exit, *, wanted: bool) -> None:
        """The cell that runs ends; without one, the next answer tells."""
        self._callers.kernel_ended()
        if self._execution is not None:
            self._execution.kernel_ended(how)
        elif not wanted:
            self._lost = f"the kernel had ended between two executions ({describe(how)}): earlier variables are lost"

    # --- the queue ---

    async def _turn(self, queue_timeout_s: float, interrupted: asyncio.Event) -> Ending | None:
        """Wait for the kernel to be free. None: it is ours now, `_pass_on` must follow; else why it is not."""
        if interrupted.is_set():
            return Ending.INTERRUPTED
        if not self._taken:
            self._taken = True
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        watch = asyncio.create_task(interrupted.wait())
        both: set[asyncio.Future[Any]] = {turn, watch}
        started = False
        try:
            await asyncio.wait(both, timeout=queue_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            started = turn.done() and not interrupted.is_set()
        finally:
            watch.cancel()
            if turn.done() and not started:
                self._pass_on()
            elif not turn.done():
                self._waiting.remove(turn)
        if started:
            return None
        return Ending.INTERRUPTED if interrupted.is_set() else Ending.TIMED_OUT

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._taken = False

    async def _kernel_ready(self, left_s: float, interrupted: asyncio.Event) -> Ending | None:
        """Wait for a kernel, at most so long. None: there is one; else why there is none."""
        ready = asyncio.create_task(self._keeper.ready())
        watch = asyncio.create_task(interrupted.wait())
        both: set[asyncio.Task[Any]] = {ready, watch}
        try:
            await asyncio.wait(both, timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
            if interrupted.is_set():
                return Ending.INTERRUPTED
            return None if ready.done() else Ending.TIMED_OUT
        finally:
            ready.cancel()
            watch.cancel()

    # --- one cell ---

    async def _run(
        self,
        kernel: Kernel,
        begin: Callable[[Execution], None],
        interrupted: asyncio.Event,
        emit: Callable[[Progress], None] | None,
        *,
        execution_id: str,
    ) -> CodeResult:
        began = time.perf_counter()
        self._keeper.drain()
        streams = self._streams(LiveText(emit) if emit else None)
        cell = Cell(self._folder, streams, emit)
        late, left_out = self._late.take()
        for content in late:
            cell.take(content, own=False)
        on_stop = partial(self._callers.stop, execution_id)
        execution = self._execution = Execution(kernel, self._keeper, cell, interrupted, emit, on_stop=on_stop)
        self._callers.begin(execution_id, cell=True)
        note, self._lost = "; ".join(words for words in (self._lost, left_out) if words) or None, None
        try:
            begin(execution)
            await execution.done
            self._keeper.drain()
            self._execution = None
            duration_ms = (time.perf_counter() - began) * 1000
            return await cell_result(execution, self._folder, duration_ms=duration_ms, note=note)
        except asyncio.CancelledError:
            # Nobody waits for it any more; the kernel must not go on with it.
            on_stop()
            self._keeper.kill()
            raise
        finally:
            self._callers.end(execution_id)
            execution.close()
            streams.claim.end()

    def _streams(self, live: LiveText | None) -> CellStreams:
        streams, self._early = self._early, None
        if streams is None:
            return self._new_streams(live=live)
        streams.live = live
        return streams

    def _new_streams(self, *, live: LiveText | None = None, early: bool = False) -> CellStreams:
        prefix = self._names.new("exec")
        return CellStreams(self._folder, prefix, self._names.room.claim(prefix), live=live, early=early)
