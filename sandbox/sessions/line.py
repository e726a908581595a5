"""The pipe of one live sandbox, kept open: cut, it is opened again; silent for long, the agent is asked for a word."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

import structlog

from sandbox.errors import CallFault, Overloaded, PipeClosed, PipeError, PipeTimeout, RuntimeFault
from sandbox.pipe.frames import Synced
from sandbox.pipe.helper_talk import HelperAsk
from sandbox.pipe.link import Link
from sandbox.pipe.messages import GetStatus
from sandbox.pipe.peer import Peer
from sandbox.runtimes.base import Condition, Runtime
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reopen import Lost, look, reopen

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_SOON_S = 1.0
"""After so long a call is looked at for the first time, and the agent has so long to say that it is there."""


class Line:
    """One agent, over as many pipes as it takes.

    `on_lost` is called with the reason when there will be no pipe any more, unless it was closed by us;
    `on_reopened` whenever there is a new one; `on_helper` with what the agent says of helper calls, over any of them.
    Begins with `begin`; a pipe that is cut before `greet` is lost.
    """

    def __init__(
        self,
        runtime: Runtime,
        sandbox_id: str,
        link: Link,
        limits: SessionLimits,
        *,
        on_lost: Callable[[Lost], None],
        on_reopened: Callable[[], None],
        on_helper: Callable[[HelperAsk], None],
    ) -> None:
        self.peer = Peer(link)
        self._runtime = runtime
        self._sandbox_id = sandbox_id
        self._limits = limits
        self._on_lost = on_lost
        self._on_reopened = on_reopened
        self._on_helper = on_helper
        self._boot: str | None = None
        self._ended = False
        self._resting = False
        self._reopening: asyncio.Task[None] | None = None
        self._owed: list[str] = []
        self._calls = 0
        self._probe: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Listen for the end of the first pipe."""
        self.peer.when_closed(self._pipe_closed)
        self.peer.helpers.listen(self._on_helper)

    @property
    def connected(self) -> bool:
        """Whether there is a pipe now."""
        return not self._ended and not self.peer.closed

    async def greet(self, timeout_s: float) -> Synced:
        """Greet the agent, and give what it says of itself. Raises `PipeError`."""
        return await self.peer.sync(timeout_s)

    def keep(self, boot: str) -> None:
        """From here on a pipe that is cut is opened again, to the agent that calls itself so."""
        self._boot = boot

    async def ask(self, ask: Callable[[Peer, float], Awaitable[_T]], deadline_s: float) -> _T:
        """Ask with the seconds that are left; once more over each new pipe that replaces one that was cut.

        Raises:
            PipeError: there will be no pipe any more, or `ask` says so.
        """
        end = monotonic() + deadline_s
        self._calls += 1
        self._probe_later(_SOON_S)
        try:
            while True:
                try:
                    return await ask(self.peer, end - monotonic())
                except PipeClosed:
                    await self.reopened()
                    # It may have ended long ago: now its agent gets the time to say so.
                    end = max(end, monotonic() + self._limits.silence_s)
        finally:
            self._calls -= 1

    def acknowledge(self, call_id: str) -> None:
        """Let the agent forget an ending that was held; while the pipe is cut, over the next one."""
        if self._ended:
            return
        if self.peer.closed:
            self._owed.append(call_id)
        else:
            self.peer.acknowledge(call_id)

    async def reopened(self) -> None:
        """Wait until there is a pipe. Raises `PipeClosed` when there will be none."""
        while not self.connected:
            reopening = self._reopening
            if self._ended or reopening is None or reopening.done():
                raise PipeClosed("the pipe is closed")
            await asyncio.wait({reopening})

    def rest(self) -> None:
        """It is frozen from outside on purpose: a pipe that is cut meanwhile says nothing about it."""
        self._resting = True

    def wake(self) -> None:
        """It goes on; a pipe that was cut meanwhile is opened again."""
        self._resting = False
        if self.peer.closed:
            self._pipe_closed("it was cut while the sandbox was paused")

    def close(self) -> None:
        """End it; who waits for an answer gets `PipeClosed`."""
        self._ended = True
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        for task in (self._reopening, self._probing):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self.peer.close()

    # --- a pipe that is cut -----------------------------------------------------------------------------

    def _pipe_closed(self, reason: str) -> None:
        if self._ended or self._resting:
            return
        if self._boot is not None and isinstance(self.peer.failure, PipeClosed):
            self._reopening = asyncio.get_running_loop().create_task(self._reopen(self._boot, reason))
        else:
            self._on_lost(Lost(reason))

    async def _reopen(self, boot: str, reason: str) -> None:
        log.warning("the pipe to a sandbox was cut", sandbox=self._sandbox_id, reason=reason)
        again: Peer | Lost = Lost("its pipe was cut, and to open it again broke off")
        try:
            again = await reopen(self._runtime, self._sandbox_id, boot, window_s=self._limits.call_deadline_s)
        finally:
            if isinstance(again, Lost) and not self._ended:
                self._on_lost(again)  # those who wait for the pipe never wait for nothing
        if isinstance(again, Lost):
            return
        self.peer = again
        log.info("the pipe to a sandbox was opened again", sandbox=self._sandbox_id)
        self._on_reopened()
        owed, self._owed = self._owed, []
        for call_id in owed:
            self.peer.acknowledge(call_id)
        self.peer.when_closed(self._pipe_closed)
        self.peer.helpers.listen(self._on_helper)

    # --- an agent that is silent ------------------------------------------------------------------------

    def _probe_later(self, after_s: float) -> None:
        if self._probe is None and self._probing is None:
            after_s = min(after_s, self._limits.probe_s)
            self._probe = asyncio.get_running_loop().call_later(after_s, self._probe_now)

    def _probe_now(self) -> None:
        """A call takes long: see whether the agent is there at all. A paused one says nothing, and nothing breaks."""
        self._probe = None
        if self._calls and not self._ended:
            self._probing = asyncio.get_running_loop().create_task(self._probe_agent(self.peer))

    async def _probe_agent(self, peer: Peer) -> None:
        probe_s = self._limits.probe_s
        try:
            there = await self._answers(peer, min(_SOON_S, probe_s)) or await self._thawed()
            if not there and not await self._answers(peer, probe_s):
                log.warning("a sandbox is silent", sandbox=self._sandbox_id, seconds=probe_s)
                peer.close()
        except (PipeError, CallFault, Overloaded):
            pass  # it answers, or its pipe is being opened again
        self._probing = None
        if not self._ended:
            self._probe_later(probe_s)

    async def _answers(self, peer: Peer, within_s: float) -> bool:
        try:
            await peer.call(GetStatus(), timeout_s=within_s, deadline_s=within_s)
        except PipeTimeout:
            return False
        return True

    async def _thawed(self) -> bool:
        """Whether it was silent because somebody paused it: then it goes on now, and nothing is lost."""
        if self._resting or not self._calls:
            return False
        try:
            async with asyncio.timeout(self._limits.call_deadline_s):
                return (await look(self._runtime, self._sandbox_id)).condition is Condition.PAUSED
        except (RuntimeFault, TimeoutError):
            return False
