"""What the answering side knows of calls: which run, which have ended and are not acknowledged. Pure."""

from collections import deque
from enum import Enum, auto

from sandbox.limits import ENDINGS_KEPT_MAX
from sandbox.pipe.frames import End
from sandbox.pipe.messages import Fault


class Known(Enum):
    """What the ledger says of a call id that arrives."""

    NEW = auto()
    RUNNING = auto()
    ENDED = auto()


class Ledger:
    """Each call id runs at most once; each ending is kept until it is acknowledged.

    Both kinds of memory are bounded: beyond `limit` the oldest unacknowledged ending is dropped, and ids that
    are done with are remembered for the last `4 * limit` calls.
    """

    def __init__(self, limit: int = ENDINGS_KEPT_MAX) -> None:
        self._limit = limit
        self._running: set[str] = set()
        self._endings: dict[str, End] = {}
        self._forgotten: set[str] = set()
        self._forgotten_order: deque[str] = deque()

    def begin(self, call_id: str) -> Known:
        """Note a call that arrived; `NEW` means: run it."""
        if call_id in self._running:
            return Known.RUNNING
        if call_id in self._endings or call_id in self._forgotten:
            return Known.ENDED
        self._running.add(call_id)
        return Known.NEW

    def end(self, ending: End) -> str | None:
        """Note how a running call ended; give the id of an older call whose ending is forgotten for it."""
        self._running.discard(ending.id)
        self._endings[ending.id] = ending
        if len(self._endings) <= self._limit:
            return None
        oldest = next(iter(self._endings))
        self._forget(oldest)
        return oldest

    def acknowledge(self, call_id: str) -> bool:
        """The ending has arrived; whether there was one here."""
        if call_id not in self._endings:
            return False
        self._forget(call_id)
        return True

    def is_running(self, call_id: str) -> bool:
        """Whether a call began and has not ended."""
        return call_id in self._running

    def ending(self, call_id: str) -> End:
        """Give the ending of a call that has ended; a fault `forgotten` when it was dropped or acknowledged."""
        return self._endings.get(call_id) or End(
            call_id, fault=Fault("forgotten", f"the ending of call {call_id} is not kept any more, or never was")
        )

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of calls that run, in no order."""
        return tuple(self._running)

    @property
    def endings(self) -> tuple[End, ...]:
        """Endings that are not acknowledged, oldest first."""
        return tuple(self._endings.values())

    def _forget(self, call_id: str) -> None:
        del self._endings[call_id]
        self._forgotten.add(call_id)
        self._forgotten_order.append(call_id)
        if len(self._forgotten_order) > 4 * self._limit:
            self._forgotten.discard(self._forgotten_order.popleft())
