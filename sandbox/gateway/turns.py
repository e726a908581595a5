"""How many helper calls run at the same time: bounds, and a queue that is fair between sessions."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from sandbox.errors import Overloaded
from sandbox.sessions.fair_queue import FairQueue


@dataclass(frozen=True, slots=True)
class TurnBounds:
    """Calls that run at the same time, of all sessions and of one; `queue`: how many may wait."""

    at_once: int
    per_session: int
    queue: int


class Turns:
    """Gives turns to sessions' calls: first come first served within a session, sessions by turns."""

    def __init__(self, bounds: TurnBounds) -> None:
        self._bounds = bounds
        self._running: Counter[str] = Counter()
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    async def take(self, session_id: str) -> None:
        """Wait for a turn; `give_back` has to follow. Bounded by the caller's deadline.

        Raises:
            Overloaded: too many wait already.
        """
        if not self._waiting and self._may_run(session_id):
            self._begin(session_id)
            return
        if len(self._waiting) >= self._bounds.queue:
            raise Overloaded(
                f"{len(self._waiting)} helper calls wait already, and `helper_queue` is {self._bounds.queue}",
                suggested_fix="Make fewer calls at the same time, or raise `helper_queue` or `helper_calls_at_once`.",
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(session_id, turn)
        self._look()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(session_id)  # it was given in the same moment
            else:
                self._waiting.remove(session_id, turn)
            raise

    def give_back(self, session_id: str) -> None:
        """End a turn: the next one is another's."""
        self.running -= 1
        self._running[session_id] -= 1
        if not self._running[session_id]:
            del self._running[session_id]
        if self._waiting:
            self._look()

    def _look(self) -> None:
        """Let run what may run now."""
        while (session_id := self._next()) is not None:
            turn = self._waiting.take(session_id)
            if not turn.done():
                self._begin(session_id)
                turn.set_result(None)

    def _next(self) -> str | None:
        # Only sessions at their own bound are passed over, and no more of them than that bound goes into the other.
        if self.running >= self._bounds.at_once:
            return None
        return next((session_id for session_id in self._waiting if self._may_run(session_id)), None)

    def _may_run(self, session_id: str) -> bool:
        return self.running < self._bounds.at_once and self._running[session_id] < self._bounds.per_session

    def _begin(self, session_id: str) -> None:
        self.running += 1
        self._running[session_id] += 1
