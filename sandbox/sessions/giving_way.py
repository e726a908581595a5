"""Who gives way when requests for a sandbox find no room: the choice. No I/O, no clock."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sandbox.sessions.reaper import IdleRules

LIVE_IDLE_S: Final = 5.0
"""For so long at least a sandbox that is not even paused has to be idle: between two calls of one turn a model thinks
for some seconds, and would lose its variables in the middle of its work."""

ASKED_S: Final = 2.0
"""For so long one that is chosen is asked whether it is busy: somebody waits for its room meanwhile."""

Fits: TypeAlias = Callable[[int, int, int], bool]
"""Whether beside so many sandboxes with so many bytes there is room for one with so many bytes."""


@dataclass(frozen=True, slots=True)
class Held:
    """The room of one sandbox. `owner`: whose session has it; None: no session has it."""

    owner: str | None
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Wait:
    """A request that waits for room."""

    owner: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Unused:
    """A sandbox that may be stopped. `session_id`: None for one of a pool."""

    sandbox_id: str
    session_id: str | None = None
    idle_s: float = 0.0
    paused: bool = False


def may_give_way(rules: IdleRules, unused: Unused) -> bool:
    """Whether a sandbox that nobody uses may be stopped early. One that is never to be stopped never is."""
    if rules.make_room_after_s == 0 or rules.stop_after_s == 0:
        return False
    return unused.idle_s >= max(rules.make_room_after_s, 0.0 if unused.paused else LIVE_IDLE_S)


def choose(waits: Sequence[Wait], held: Mapping[str, Held], unused: Iterable[Unused], fits: Fits) -> list[Unused]:
    """Give those of `unused` that are to give way so that as many of `waits` as possible, in their turn, find room.

    First go those that no session has. Then one of the owner who has most, so that no API key can push out others who
    have less as long as it has idle ones itself: the request counts as one of its owner's, who therefore gives way
    first among equals. Of one owner's the paused ones go first, and of these the one that was idle longest. For a
    request that would find no room all the same nothing is stopped, and nobody behind it can be let in.

    `held`: the room that will not become free by itself.
    """
    book = _Book(held.values())
    left = {one.sandbox_id: one for one in unused if one.sandbox_id in held}
    chosen: list[Unused] = []
    for wait in waits:
        gone = _for(wait, book, left, held, fits)
        if gone is None:
            break
        chosen += gone
        for one in gone:
            del left[one.sandbox_id]
        book.add(Held(wait.owner, wait.memory_bytes))
    return chosen


class _Book:
    """The sums of what is held."""

    def __init__(self, held: Iterable[Held]) -> None:
        self.sandboxes = self.memory_bytes = 0
        self.of: Counter[str | None] = Counter()
        for one in held:
            self.add(one)

    def add(self, one: Held, sign: int = 1) -> None:
        """Count one; `sign` -1: do not count it any more."""
        self.sandboxes += sign
        self.memory_bytes += sign * one.memory_bytes
        self.of[one.owner] += sign


def _for(
    wait: Wait, book: _Book, left: Mapping[str, Unused], held: Mapping[str, Held], fits: Fits
) -> list[Unused] | None:
    """Give those that go for one request, and no more than that, and take them out of the book; None: in vain."""
    gone: list[Unused] = []

    def has_room() -> bool:
        return fits(book.sandboxes, book.memory_bytes, wait.memory_bytes)

    def reluctance(one: Unused) -> tuple[float | bool, ...]:
        owner = held[one.sandbox_id].owner
        own = owner == wait.owner
        return owner is not None, -(book.of[owner] + own), not own, not one.paused, -one.idle_s

    while not has_room():
        others = [one for one in left.values() if one not in gone]
        if not others:
            return None
        gone.append(min(others, key=reluctance))
        book.add(held[gone[-1].sandbox_id], -1)
    for one in reversed(gone.copy()):
        # Of a large one that was taken after small ones, these may stay.
        book.add(held[one.sandbox_id])
        if has_room():
            gone.remove(one)
        else:
            book.add(held[one.sandbox_id], -1)
    return gone
