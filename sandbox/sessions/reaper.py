"""When an idle sandbox is put to rest: the rules (pure), and one timer for each session's sandbox."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol


class Stage(IntEnum):
    """How far from use a sandbox is; it only goes on to later ones until somebody asks for it."""

    LIVE = 0
    PAUSED = 1
    STOPPED = 2
    REMOVED = 3


@dataclass(frozen=True, slots=True)
class IdleRules:
    """After how many idle seconds a sandbox gets to each stage; 0: never.

    `background_jobs_keep_awake`: a sandbox in which background jobs of bash run is not idle. `make_room_after_s`: after
    how many it may be stopped early when others need its room.
    """

    pause_after_s: float = 60.0
    stop_after_s: float = 1800.0
    remove_after_s: float = 86_400.0
    background_jobs_keep_awake: bool = True
    make_room_after_s: float = 60.0


def due(rules: IdleRules, stage: Stage, idle_since: float, now: float) -> Stage | None:
    """Give the furthest stage that a sandbox in `stage` has earned by now; None: it stays."""
    earned = [later for later, at in _ahead(rules, stage, idle_since) if at <= now]
    return max(earned, default=None)


def next_at(rules: IdleRules, stage: Stage, idle_since: float) -> float | None:
    """Give the time at which `due` will next name a stage; None: never."""
    return min((at for _, at in _ahead(rules, stage, idle_since)), default=None)


def _ahead(rules: IdleRules, stage: Stage, idle_since: float) -> list[tuple[Stage, float]]:
    after = {
        Stage.PAUSED: rules.pause_after_s,
        Stage.STOPPED: rules.stop_after_s,
        Stage.REMOVED: rules.remove_after_s,
    }
    return [(later, idle_since + seconds) for later, seconds in after.items() if seconds > 0 and later > stage]


class Timer(Protocol):
    """What `Clock.call_at` gives."""

    def cancel(self) -> None:
        """Do not call."""


class Clock(Protocol):
    """Time in seconds, and calls at a time: an event loop is one."""

    def time(self) -> float:
        """Give the time now."""

    def call_at(self, when: float, callback: Callable[[], Any], /) -> Timer:
        """Call `callback` when the time is `when`."""


class Reaper:
    """Watches how long one sandbox has been idle, and calls `act` with each stage that it has earned.

    `act` answers by `stay` (it is in use after all) or `at` (the stage was reached).
    """

    def __init__(self, rules: IdleRules, clock: Clock, act: Callable[[Stage], None]) -> None:
        self.rules = rules
        self._clock = clock
        self._act = act
        self._stage: Stage | None = None
        self._users = 0
        self.idle_since = clock.time()
        """Since when, by the clock; a use in between makes it another time."""
        self._timer: Timer | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody uses the sandbox."""
        return self._users == 0

    @property
    def idle_s(self) -> float:
        """For how long nobody has."""
        return self._clock.time() - self.idle_since

    @contextmanager
    def used(self, *, counts: bool = True) -> Iterator[None]:
        """Keep the sandbox as it is meanwhile. `counts`: this is activity, from which idle time counts anew."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if counts:
                self.idle_since = self._clock.time()
            # The timer that runs already goes off too early and then looks again: cheaper than one for each use.
            if self.idle and self._timer is None:
                self._arm()

    def begin(self, idle_s: float) -> None:
        """Take it that nobody has used the sandbox for so long: an earlier controller knew it before this one."""
        self.idle_since = self._clock.time() - idle_s
        self._arm()

    def stay(self) -> None:
        """Take it that the sandbox was in use until now."""
        self.idle_since = self._clock.time()
        self._arm()

    def at(self, stage: Stage | None) -> None:
        """Say where the sandbox is; None: there is none, or it is on its way."""
        if stage is not self._stage:
            self._stage = stage
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stage is None:
            return
        when = next_at(self.rules, self._stage, self.idle_since)
        if when is not None:
            self._timer = self._clock.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._stage is None or not self.idle:
            return
        earned = due(self.rules, self._stage, self.idle_since, self._clock.time())
        if earned is None:
            self._arm()
        else:
            self._act(earned)
