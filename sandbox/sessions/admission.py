"""Who may start a sandbox, and when: bounds on their number, memory and starts at once; the rest waits in turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.errors import Overloaded


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many sandboxes there may be, how much memory their limits may add up to (None: any), how many may start.

    `queue`: how many requests may wait for that; `wait_s`: for how long.
    """

    sandboxes: int
    memory_bytes: int | None
    starts: int
    queue: int
    wait_s: float


@dataclass(slots=True, eq=False)
class _Waiter:
    sandbox_id: str
    memory_bytes: int
    granted: asyncio.Future[None]


class Admission:
    """Gives room for sandboxes, by id. Who finds none waits: first come first served per owner, owners by turns.

    `give_up` is called when somebody waits for room: it may begin to remove a sandbox that nobody uses.
    """

    def __init__(self, bounds: Bounds, give_up: Callable[[], None]) -> None:
        self._bounds = bounds
        self._give_up = give_up
        self._held: dict[str, int] = {}
        self._starting: set[str] = set()
        self._queues: dict[str, deque[_Waiter]] = {}
        self._eased = asyncio.Event()
        self.refused = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def starting(self) -> int:
        """How many sandboxes start now."""
        return len(self._starting)

    @property
    def held(self) -> int:
        """How many sandboxes have room, those that start among them."""
        return len(self._held)

    async def enter(self, sandbox_id: str, memory_bytes: int, owner: str) -> None:
        """Get room for a sandbox, and the turn to start it, for somebody who waits for it.

        Raises:
            Overloaded: too many wait, or it took too long.
        """
        if not self._queues and self._fits(memory_bytes):
            self._hold(sandbox_id, memory_bytes)
            return
        if self.waiting >= self._bounds.queue:
            raise self._refusal(f"{self.waiting} requests wait for a sandbox already")
        waiter = _Waiter(sandbox_id, memory_bytes, asyncio.get_running_loop().create_future())
        self._queues.setdefault(owner, deque()).append(waiter)
        self.look()
        admitted = False
        try:
            async with asyncio.timeout(self._bounds.wait_s):
                await waiter.granted
            admitted = True
        except TimeoutError:
            raise self._refusal(f"no room for another sandbox within {self._bounds.wait_s:g} s") from None
        finally:
            if not admitted:
                self._forget(owner, waiter)
                self.leave(sandbox_id)

    async def enter_last(self, sandbox_id: str, memory_bytes: int) -> None:
        """Get room and the turn when nobody else waits and nothing else starts, however long that takes."""
        while self._queues or self._starting or not self._fits(memory_bytes):
            self._eased.clear()
            await self._eased.wait()
        self._hold(sandbox_id, memory_bytes)

    def note(self, sandbox_id: str, memory_bytes: int) -> None:
        """Count a sandbox that is there already, whatever the bounds say."""
        self._held[sandbox_id] = memory_bytes

    def started(self, sandbox_id: str) -> None:
        """Say that a sandbox does not start any more: the turn is the next one's."""
        self._starting.discard(sandbox_id)
        self.look()

    def leave(self, sandbox_id: str) -> None:
        """Free the room of a sandbox. Twice is no error."""
        self._held.pop(sandbox_id, None)
        self._starting.discard(sandbox_id)
        self.look()

    def look(self) -> None:
        """Let in who can be let in now."""
        while self._queues:
            owner, queue = next(iter(self._queues.items()))
            waiter = queue[0]
            if not waiter.granted.done() and not self._fits(waiter.memory_bytes):
                # The first one is not passed by smaller ones: it would wait for ever.
                if not self._has_room(waiter.memory_bytes):
                    self._give_up()
                return
            queue.popleft()
            del self._queues[owner]
            if queue:
                self._queues[owner] = queue  # at the end: the next turn is another owner's
            if not waiter.granted.done():
                self._hold(waiter.sandbox_id, waiter.memory_bytes)
                waiter.granted.set_result(None)
        self._eased.set()

    def _fits(self, memory_bytes: int) -> bool:
        return len(self._starting) < self._bounds.starts and self._has_room(memory_bytes)

    def _has_room(self, memory_bytes: int) -> bool:
        if len(self._held) >= self._bounds.sandboxes:
            return False
        most = self._bounds.memory_bytes
        return most is None or sum(self._held.values()) + memory_bytes <= most

    def _hold(self, sandbox_id: str, memory_bytes: int) -> None:
        self._held[sandbox_id] = memory_bytes
        self._starting.add(sandbox_id)

    def _forget(self, owner: str, waiter: _Waiter) -> None:
        queue = self._queues.get(owner)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[owner]

    def _refusal(self, why: str) -> Overloaded:
        self.refused += 1
        return Overloaded(
            f"There is no room for another sandbox: {why}",
            suggested_fix="Delete sessions that are not needed, or raise `max_sandboxes` or `max_memory_bytes`.",
        )
