"""A clock that only the test moves; timers go off when it has been moved past them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class ManualTimer:
    """One call at a time."""

    clock: "ManualClock"
    when: float
    callback: Callable[[], Any]

    def cancel(self) -> None:
        if self in self.clock.timers:
            self.clock.timers.remove(self)


class ManualClock:
    """A `sandbox.sessions.reaper.Clock`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self.timers: list[ManualTimer] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], Any], /) -> ManualTimer:
        timer = ManualTimer(self, when, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Move the time on; what is due is called, in its order."""
        self._now += seconds
        for timer in sorted(self.timers, key=lambda timer: timer.when):
            if timer.when <= self._now and timer in self.timers:
                self.timers.remove(timer)
                timer.callback()


async def until(holds: Callable[[], bool]) -> None:
    """Give the loop its turns until `holds`, at most for half a minute."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
