"""Who may start a sandbox, and when: bounds on their number, memory and starts at once; the rest waits in turn.

A sandbox counts, with all of its memory, from before its start until it is removed or stopped; a paused one counts
in full, because it still has its memory. A stopped one has none and does not count: to be woken is a start like any
other, which passes the bounds and may have to wait. So running and paused sandboxes never add up to more than there
is, and sessions that only have files keep nobody out. Who waits is made room for when there are sandboxes that nobody
uses: see `making_room`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.errors import Overloaded
from sandbox.sessions.fair_queue import FairQueue
from sandbox.sessions.giving_way import Held, Wait
from sandbox.sessions.memory import MemoryBound, in_mib


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many sandboxes there may be, and how many may start at once.

    `queue`: how many requests may wait for that; `wait_s`: for how long.
    """

    sandboxes: int
    starts: int
    queue: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class _Hit:
    """A bound that is in the way: its setting, and its numbers in words."""

    setting: str
    words: str


@dataclass(slots=True, eq=False)
class _Waiter:
    sandbox_id: str
    owner: str
    memory_bytes: int
    granted: asyncio.Future[None]


class Admission:
    """Gives room for sandboxes, by id. Who finds none waits: first come first served per owner, owners by turns.

    `memory`: the bound on what their memory limits add up to. `make_room` is called when somebody waits for room: it
    may begin to stop sandboxes that nobody uses.
    """

    def __init__(self, bounds: Bounds, memory: MemoryBound, make_room: Callable[[], None]) -> None:
        self._bounds = bounds
        self._memory = memory
        self._make_room = make_room
        self._held: dict[str, Held] = {}
        self._starting: set[str] = set()
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._eased = asyncio.Event()
        self.refused = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def starting(self) -> int:
        """How many sandboxes start now."""
        return len(self._starting)

    @property
    def held(self) -> int:
        """How many sandboxes have room, those that start among them."""
        return len(self._held)

    @property
    def sandboxes(self) -> Mapping[str, Held]:
        """The room of each sandbox that has some."""
        return self._held

    def waits(self) -> list[Wait]:
        """Give those who wait, in their turn."""
        waiters = (waiter for waiter in self._queue.in_turn() if not waiter.granted.done())
        return [Wait(waiter.owner, waiter.memory_bytes) for waiter in waiters]

    def fits(self, sandboxes: int, held_bytes: int, memory_bytes: int) -> bool:
        """Whether beside so many sandboxes, with limits that add up to so much, there is room for one more."""
        return sandboxes < self._bounds.sandboxes and self._memory.has_room(held_bytes, memory_bytes)

    def holds(self, sandbox_id: str) -> bool:
        """Whether a sandbox has room."""
        return sandbox_id in self._held

    async def enter(self, sandbox_id: str, memory_bytes: int, owner: str) -> None:
        """Get room for a sandbox, and the turn to start it, for somebody who waits for it.

        Raises:
            Overloaded: too many wait, or it took too long; the message names the bound that is in the way.
            SandboxStartFailed: it would not even fit alone.
            EngineUnavailable: how much memory there is has to be asked first, and the engine does not answer.
        """
        await self._memory.learn()
        self._memory.check(memory_bytes)
        if not self._queue and self._fits(memory_bytes):
            self._hold(sandbox_id, memory_bytes, owner)
            return
        if self.waiting >= self._bounds.queue:
            raise self._refusal(
                f"{self.waiting} requests wait for one already, and `admission_queue` is {self._bounds.queue}",
                memory_bytes,
            )
        waiter = _Waiter(sandbox_id, owner, memory_bytes, asyncio.get_running_loop().create_future())
        self._queue.put(owner, waiter)
        self.look()
        admitted = False
        try:
            async with asyncio.timeout(self._bounds.wait_s):
                await waiter.granted
            admitted = True
        except TimeoutError:
            waited = f"there came none within {self._bounds.wait_s:g} s (`admission_wait_s`)"
            raise self._refusal(waited, memory_bytes) from None
        finally:
            if not admitted:
                self._queue.remove(owner, waiter)
                self.leave(sandbox_id)

    async def enter_last(self, sandbox_id: str, memory_bytes: int) -> None:
        """Get room and the turn when nobody else waits and nothing else starts, however long that takes.

        Raises:
            SandboxStartFailed, EngineUnavailable: as `enter`.
        """
        await self._memory.learn()
        self._memory.check(memory_bytes)
        while self._queue or self._starting or not self._fits(memory_bytes):
            self._eased.clear()
            await self._eased.wait()
        self._hold(sandbox_id, memory_bytes, None)

    def note(self, sandbox_id: str, memory_bytes: int, owner: str | None = None) -> None:
        """Count a sandbox that is there already, whatever the bounds say. `owner`: whose it is from now on."""
        before = self._held.get(sandbox_id)
        self._held[sandbox_id] = Held(owner or (before.owner if before is not None else None), memory_bytes)

    def own(self, sandbox_id: str, owner: str) -> None:
        """Say whose a sandbox is that has room: nobody's until now."""
        if (held := self._held.get(sandbox_id)) is not None:
            self.note(sandbox_id, held.memory_bytes, owner)

    async def grow(self, sandbox_id: str, memory_bytes: int) -> None:
        """Count a sandbox that has room with a higher memory limit, unless others wait for room.

        Raises:
            Overloaded: there is no room for that; the message names the bound.
            EngineUnavailable: as `enter`.
        """
        await self._memory.learn()
        before = self._held.get(sandbox_id)
        others = self._held_bytes - (before.memory_bytes if before is not None else 0)
        if self._queue or not self._memory.has_room(others, memory_bytes):
            self.refused += 1
            raise Overloaded(
                f"`max_memory_bytes` is {self._memory}, the memory limits of the other sandboxes add up to "
                f"{in_mib(others)}, and {self.waiting} requests wait for room"
            )
        self.note(sandbox_id, memory_bytes)

    def shrink(self, sandbox_id: str, memory_bytes: int) -> None:
        """Count a sandbox that still has room with a lower memory limit."""
        if sandbox_id in self._held:
            self.note(sandbox_id, memory_bytes)
            self.look()

    def started(self, sandbox_id: str) -> None:
        """Say that a sandbox does not start any more: the turn is the next one's."""
        self._starting.discard(sandbox_id)
        self.look()

    def leave(self, sandbox_id: str) -> None:
        """Free the room of a sandbox, or end the wait for it. Twice is no error."""
        self._held.pop(sandbox_id, None)
        self._starting.discard(sandbox_id)
        for waiter in self._queue.things():
            if waiter.sandbox_id == sandbox_id and not waiter.granted.done():
                waiter.granted.set_exception(Overloaded("nobody needs this sandbox any more"))
        self.look()

    def look(self) -> None:
        """Let in who can be let in now."""
        while self._queue:
            owner = next(iter(self._queue))
            waiter = self._queue.first(owner)
            if not waiter.granted.done() and not self._fits(waiter.memory_bytes):
                # The first one is not passed by smaller ones: it would wait for ever.
                if not self._has_room(waiter.memory_bytes):
                    self._make_room()
                return
            self._queue.take(owner)
            if not waiter.granted.done():
                self._hold(waiter.sandbox_id, waiter.memory_bytes, owner)
                waiter.granted.set_result(None)
        self._eased.set()

    def _fits(self, memory_bytes: int) -> bool:
        return len(self._starting) < self._bounds.starts and self._has_room(memory_bytes)

    def _has_room(self, memory_bytes: int) -> bool:
        return self.fits(len(self._held), self._held_bytes, memory_bytes)

    @property
    def _held_bytes(self) -> int:
        return sum(held.memory_bytes for held in self._held.values())

    def _hit(self, memory_bytes: int) -> _Hit | None:
        """Say which bound is in the way of one more sandbox; None when only others are, who wait before it."""
        held, starting, bounds = len(self._held), len(self._starting), self._bounds
        if held >= bounds.sandboxes:
            return _Hit("max_sandboxes", f"`max_sandboxes` is {bounds.sandboxes}, and there are {held}")
        if not self._memory.has_room(self._held_bytes, memory_bytes):
            there = f"the memory limits of all sandboxes add up to {in_mib(self._held_bytes)}"
            words = f"`max_memory_bytes` is {self._memory}, {there}, and one more has {in_mib(memory_bytes)}"
            return _Hit("max_memory_bytes", words)
        if starting >= bounds.starts:
            return _Hit("starts_at_once", f"`starts_at_once` is {bounds.starts}, and {starting} start now")
        return None

    def _hold(self, sandbox_id: str, memory_bytes: int, owner: str | None) -> None:
        self._held[sandbox_id] = Held(owner, memory_bytes)
        self._starting.add(sandbox_id)

    def _refusal(self, why: str, memory_bytes: int) -> Overloaded:
        self.refused += 1
        hit = self._hit(memory_bytes)
        words = f"; {hit.words}" if hit is not None else "; others wait before it"
        raisable = f"raise `{hit.setting}`" if hit is not None else "try again"
        return Overloaded(
            f"There is no room for another sandbox: {why}{words}",
            suggested_fix=f"Delete sessions that are not needed, or {raisable}.",
        )
