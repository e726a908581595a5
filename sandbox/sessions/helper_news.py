"""News of helper calls for those who follow an execution live: thousands of calls become a few events a second."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

INTERVAL_S: Final = 0.05
SLOW_INTERVAL_S: Final = 0.5
SLOW_AFTER: Final = 200
"""So many events come with the first interval between them, the rest with the second: live output is not driven out."""

TARGET_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class HelperCalled:
    """One helper call that has ended. `status`: `ok`, `refused`, or the slug of its error."""

    helper: str
    target: str
    status: str
    duration_ms: float


class LiveHelperCall(msgspec.Struct, frozen=True, tag="helper_call"):
    """The last of the helper calls that ended since the event before, and how many those were; `failed` of them.

    It comes from the controller and not from the sandbox, whose events are numbered: it has the number of the event
    before it, and is not said again to who comes later.
    """

    helper: str
    target: str
    status: str
    duration_ms: float
    calls: int = 1
    failed: int = 0


class HelperNews:
    """Tells of calls as they end, at a bounded rate."""

    def __init__(self, tell: Callable[[LiveHelperCall], None]) -> None:
        self._tell = tell
        self._calls = 0
        self._failed = 0
        self._told = 0
        self._last: HelperCalled | None = None
        self._quiet_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def called(self, called: HelperCalled) -> None:
        """Tell of a call now, or together with others a little later."""
        self._calls += 1
        self._failed += called.status != "ok"
        self._last = called
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._quiet_until:
            self.flush()
            self._quiet_until = now + (INTERVAL_S if self._told < SLOW_AFTER else SLOW_INTERVAL_S)
        else:
            self._timer = loop.call_at(self._quiet_until, self._later)

    def flush(self) -> None:
        """Tell of what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        last, self._last = self._last, None
        if last is None:
            return
        calls, failed = self._calls, self._failed
        self._calls = self._failed = 0
        self._told += 1
        target = last.target[:TARGET_CHARS]
        self._tell(LiveHelperCall(last.helper, target, last.status, round(last.duration_ms, 1), calls, failed))

    def _later(self) -> None:
        self._timer = None
        self.flush()
        interval = INTERVAL_S if self._told < SLOW_AFTER else SLOW_INTERVAL_S
        self._quiet_until = asyncio.get_running_loop().time() + interval
