"""Keeps one kernel alive: starts it, and starts another when it has ended."""

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from sandbox.agent.kernel import Kernel, describe
from sandbox.agent.kernel_pipes import KernelPipes
from sandbox.agent.kernel_wire import Message
from sandbox.agent.processes import Exit, ProcessTable
from sandbox.errors import CallFault
from sandbox.limits import READY_TIMEOUT_S
from sandbox.pipe.messages import KernelState, StreamName

log = logging.getLogger(__name__)

_WORDS_BYTES: Final = 4000
_DEATH_WAIT_S: Final = 10.0
"""A killed kernel that has not ended by then is left behind: nobody has to wait for it."""
START_FAILED: Final = "kernel_start_failed"


class KernelUser(Protocol):
    """Who uses the kernel. All methods are called on the event loop."""

    def output(self, stream: StreamName, data: bytes) -> None:
        """Text of the kernel or its children has come."""

    def said(self, message: Message) -> None:
        """A message about an execution has come."""

    def kernel_ended(self, how: Exit, *, wanted: bool) -> None:
        """The kernel is gone, variables with it; `wanted`: we killed it. Another is being started."""


class KernelKeeper:
    """One kernel at a time, each in a folder of its own below `private`."""

    def __init__(
        self,
        user: KernelUser,
        *,
        python: str,
        home: Path,
        private: Path,
        processes: ProcessTable,
        env: Mapping[str, str],
    ) -> None:
        self._user = user
        self._python = python
        self._home = home
        self._private = private
        self._processes = processes
        self._env = env
        self._loop = asyncio.get_running_loop()
        self._pipes = KernelPipes(self._output)
        self._numbers = itertools.count(1)
        self._kernel: Kernel | None = None
        self._condemned = False
        self._failed = False
        self._served = False
        self._closing = False
        self._words = b""
        self._killed: Kernel | None = None
        self._ready_by = self._limit()
        self._ready: asyncio.Future[str | None] = self._loop.create_future()

    @property
    def usable(self) -> Kernel | None:
        """The kernel, when it can take an execution right now."""
        kernel = self._kernel
        if kernel is None or not kernel.ready or self._condemned or kernel.ended or kernel.dying:
            return None
        return kernel

    @property
    def pid(self) -> int | None:
        """The process id of the kernel, if there is one."""
        return self._kernel.pid if self._kernel is not None and not self._kernel.ended else None

    @property
    def state(self) -> KernelState:
        """`idle`, `starting` or `dead`; whether it is busy is not known here."""
        if self.usable:
            return KernelState.IDLE
        return KernelState.DEAD if self._failed else KernelState.STARTING

    def launch(self) -> None:
        """Start a kernel; `ready` tells what became of it."""
        self._renew()
        self._condemned = self._failed = False
        self._words = b""
        self._ready_by = self._limit()
        try:
            self._kernel = Kernel(
                self,
                python=self._python,
                cwd=self._home if os.access(self._home, os.X_OK) else Path("/"),
                folder=self._private / f"k{next(self._numbers)}",
                env=self._env,
                processes=self._processes,
                pipes=self._pipes,
            )
        except OSError as error:
            self._kernel = None
            self._fail(f"{self._python} cannot be started: {error}")

    async def ready(self) -> Kernel:
        """Wait until the kernel can take an execution; a kernel that failed to start is tried again.

        Raises:
            CallFault: `kernel_start_failed`, with the kernel's last words.
        """
        if self.state is KernelState.DEAD:
            self.launch()
        while (kernel := self.usable) is None:
            if not self._failed:
                self._renew()
            if self._kernel is not None and self._kernel.dying:
                # When only its main thread has ended, the others would keep it for ever.
                self._kill(self._kernel)
            ready = self._ready  # there may be another one when this task goes on
            # From its start, not from this call: one that hangs is found by callers that have little time, too.
            await asyncio.wait({ready}, timeout=max(0.0, self._ready_by - self._loop.time()))
            if not ready.done():
                self.kill()
                raise CallFault(START_FAILED, self._explain(f"the kernel was not ready after {READY_TIMEOUT_S:.0f} s"))
            if (failure := ready.result()) is not None:
                raise CallFault(START_FAILED, failure)
        return kernel

    def drain(self) -> None:
        """Deliver the text that has been written up to now."""
        self._pipes.drain()

    def kill(self) -> None:
        """Kill the kernel; another is started when it is gone."""
        if self._kernel is None or self._kernel.ended:
            return
        self._renew()
        self._ready_by = self._limit()
        self._condemned = True
        self._kill(self._kernel)

    async def aclose(self) -> None:
        """Kill the kernel for good and close the pipes."""
        self._closing = True
        if self._kernel is not None:
            await self._kernel.aclose()
        self._pipes.close()

    # --- what the kernel tells (KernelOwner) ---

    def kernel_ready(self, kernel: Kernel) -> None:
        """Wake who waits for it."""
        if kernel is self._kernel and not self._condemned and not self._ready.done():
            self._served = True
            self._ready.set_result(None)

    def kernel_said(self, kernel: Kernel, message: Message) -> None:
        """Hand it on."""
        if kernel is self._kernel:
            self._user.said(message)

    def kernel_ended(self, kernel: Kernel, how: Exit) -> None:
        """Start another, unless it never got ready by itself: that would fail again and again."""
        if kernel is not self._kernel:
            return  # it was left behind
        self._pipes.drain()
        wanted = self._condemned
        if kernel.ready or wanted:
            self._user.kernel_ended(how, wanted=wanted)
        if self._closing:
            return
        if kernel.ready or wanted:
            self.launch()
        else:
            self._fail(f"the kernel could not be started: it ended at once ({describe(how)})")

    def _kill(self, kernel: Kernel) -> None:
        kernel.kill()
        if self._killed is not kernel:
            self._killed = kernel
            self._loop.call_later(_DEATH_WAIT_S, self._leave, kernel)

    def _leave(self, kernel: Kernel) -> None:
        """A killed kernel hangs in the machine's kernel, or something traces it: go on without it."""
        if kernel is self._kernel and not kernel.ended and not self._closing:
            log.warning("the kernel %d was killed and has not ended; another one is started", kernel.pid)
            self.kernel_ended(kernel, Exit(None, signal.SIGKILL))

    def _output(self, stream: StreamName, data: bytes) -> None:
        if self._kernel is None or not self._kernel.ready:
            self._words = (self._words + data)[-_WORDS_BYTES:]
        # What the very first kernel prints while it starts is not the output of any code.
        if self._served:
            self._user.output(stream, data)

    def _renew(self) -> None:
        if self._ready.done():
            self._ready = self._loop.create_future()
            self._ready_by = self._limit()

    def _limit(self) -> float:
        return self._loop.time() + READY_TIMEOUT_S

    def _fail(self, why: str) -> None:
        self._failed = True
        self._renew()
        self._ready.set_result(self._explain(why))

    def _explain(self, why: str) -> str:
        words = self._words.decode("utf-8", "replace").strip()
        return f"{why}\n{words}" if words else why
