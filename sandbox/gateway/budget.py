"""How much a session, and all sessions of an API key, may use in 24 hours: calls, model characters, uploaded bytes.

Counted by the hour, in memory; what was used before a restart is read from the store at the first use after it. With
several controllers over one database each counts for itself between restarts.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

import structlog

from sandbox.errors import HelperRefused, StoreUnavailable
from sandbox.sessions.call_record import Amounts, CallStore, Usage

log = structlog.get_logger(__name__)

_Ask: TypeAlias = Callable[[int], Awaitable[dict[int, Amounts]]]

HOURS: Final = 24

_WINDOWS_KEPT: Final = 20_000
_LOOK_S: Final = 2.0
_LOOK_AGAIN_S: Final = 30.0
_HOUR_S: Final = 3600


class Kind(StrEnum):
    """What is counted; the value is its name in `Amounts` and in the settings."""

    CALLS = "calls"
    MODEL_CHARS = "model_chars"
    UPLOAD_BYTES = "upload_bytes"


_WORDS: Final = {
    Kind.CALLS: "helper calls",
    Kind.MODEL_CHARS: "characters of questions to models and their answers",
    Kind.UPLOAD_BYTES: "bytes of uploads",
}


_NOTHING: Final = dict.fromkeys(Kind, 0)
_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """What may be used in 24 hours; 0: nothing."""

    session: Amounts
    key: Amounts


class _Window:
    """What one session or key used, by hour. `look_at`: when the store is to be asked again; None: it has answered."""

    def __init__(self) -> None:
        self._hours: dict[int, dict[Kind, int]] = {}
        self._now = -1
        self._totals = _NOTHING
        self.look_at: float | None = 0.0

    def used(self, kind: Kind, hour: int) -> int:
        """Give the amount in the hours that count."""
        if hour != self._now:
            self._now = hour
            self._hours = {each: used for each, used in self._hours.items() if each > hour - HOURS}
            self._totals = {each: sum(used[each] for used in self._hours.values()) for each in Kind}
        return self._totals[kind]

    def add(self, kind: Kind, hour: int, amount: int) -> None:
        """Count an amount."""
        self.used(kind, hour)
        self._totals[kind] += amount
        _of(self._hours, hour)[kind] += amount

    def learn(self, stored: dict[int, Amounts]) -> None:
        """Take in what the store knows; it may know some of what is counted here already."""
        for hour, amounts in stored.items():
            used = _of(self._hours, hour)
            for kind in Kind:
                used[kind] = max(used[kind], amounts.of(kind))
        self._now = -1
        self.look_at = None


class Budget:
    """Counts and refuses. `time`: seconds since 1970."""

    def __init__(self, limits: BudgetLimits, store: CallStore, time: Callable[[], float]) -> None:
        self._limits = limits
        self._store = store
        self._time = time
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()
        self._unwritten: dict[tuple[str, str, int], dict[Kind, int]] = {}

    async def meter(self, session_id: str, owner: str) -> "Meter":
        """Give what counts for a session. Asks the store at the first use; without an answer it begins at zero."""
        session, key = self._window("session", session_id), self._window("key", owner)
        meter = Meter(self, session_id, owner, session, key)
        if session.look_at is not None:
            await self._look(session, session_id, lambda since: self._store.usage_of_session(session_id, since))
        if key.look_at is not None:
            await self._look(key, session_id, lambda since: self._store.usage_of_owner(owner, since))
        return meter

    def spend(self, meter: "Meter", kind: Kind, amount: int) -> None:
        """Count an amount before it is used.

        Raises:
            HelperRefused: it is over a budget; then nothing is counted.
        """
        hour = self._hour()
        if meter.session.used(kind, hour) + amount > (limit := self._limits.session.of(kind)):
            raise _over(kind, "session", limit)
        if meter.key.used(kind, hour) + amount > (limit := self._limits.key.of(kind)):
            raise _over(kind, "key", limit)
        self.add(meter, kind, amount)

    def add(self, meter: "Meter", kind: Kind, amount: int) -> None:
        """Count an amount that is used already."""
        hour = self._hour()
        meter.session.add(kind, hour, amount)
        meter.key.add(kind, hour, amount)
        _of(self._unwritten, (meter.session_id, meter.owner, hour))[kind] += amount

    def take_unwritten(self) -> list[Usage]:
        """Give what was counted since it was asked for last: somebody stores it."""
        taken, self._unwritten = self._unwritten, {}
        return [Usage(session_id, owner, hour, Amounts(**used)) for (session_id, owner, hour), used in taken.items()]

    def put_back(self, usage: list[Usage]) -> None:
        """Take back what could not be stored."""
        for each in usage:
            used = _of(self._unwritten, (each.session_id, each.owner, each.hour))
            for kind in Kind:
                used[kind] += each.amounts.of(kind)

    def _hour(self) -> int:
        return int(self._time()) // _HOUR_S

    def _window(self, scope: str, name: str) -> _Window:
        key = scope, name
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
            if len(self._windows) > _WINDOWS_KEPT:
                self._windows.popitem(last=False)
        return window

    async def _look(self, window: _Window, session_id: str, ask: _Ask) -> None:
        now = self._time()
        if window.look_at is None or now < window.look_at:
            return
        # Others who come meanwhile go on with what is known: they are not to wait for a store that is slow.
        window.look_at = now + _LOOK_AGAIN_S
        try:
            async with asyncio.timeout(_LOOK_S):
                window.learn(await ask(self._hour() - HOURS + 1))
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("what a session used before is not known", session=session_id, error=str(error))


@dataclass(frozen=True, slots=True)
class Meter:
    """The budget as one session has it. `session`, `key`: what was used."""

    budget: Budget
    session_id: str
    owner: str
    session: _Window
    key: _Window

    def spend(self, kind: Kind, amount: int) -> None:
        """Count an amount before it is used. Raises `HelperRefused` when it is over a budget."""
        self.budget.spend(self, kind, amount)

    def add(self, kind: Kind, amount: int) -> None:
        """Count an amount that is used already."""
        self.budget.add(self, kind, amount)


def _of(hours: dict[_K, dict[Kind, int]], key: _K) -> dict[Kind, int]:
    """Give what was used in an hour; nothing, to begin with."""
    used = hours.get(key)
    if used is None:
        used = hours[key] = dict(_NOTHING)
    return used


def _over(kind: Kind, scope: str, limit: int) -> HelperRefused:
    setting = f"{kind.value}_per_{scope}"
    whose = "this session" if scope == "session" else "all sessions of this API key"
    return HelperRefused(
        f"the budget of {whose} is {limit:,} {_WORDS[kind]} in {HOURS} hours (`{setting}`), and this call is over it",
        suggested_fix=f"Wait until earlier ones are {HOURS} hours old, or raise `{setting}`"
        f" (WORKBENCH_{setting.upper()}).",
    )
