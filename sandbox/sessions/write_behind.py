"""What is stored behind the hot path: it waits in memory, and one write after the other takes what has gathered."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

import structlog

from sandbox.errors import StoreUnavailable
from sandbox.sessions.background import Background

log = structlog.get_logger(__name__)

RETRY_S: Final = 0.5
RETRY_MAX_S: Final = 30.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pace:
    """`gather_s`: how long what comes is gathered for one write. `batch`, `batch_weight`: what a write takes at most.

    `full_at`: when so many still wait after a write the next one begins at once; None: it always gathers.
    """

    gather_s: float = 0.0
    batch: int | None = None
    batch_weight: int | None = None
    full_at: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What may wait at most: so many, and so much `weight`; None: without a bound. The oldest is given up for more."""

    number: int | None = None
    weight: int | None = None


@dataclass(slots=True, eq=False)
class _Entry(Generic[_T]):
    value: _T
    weight: int


class WriteBehind(Generic[_T]):
    """A queue by key, and the task that stores it; for one key the last word wins.

    `what`: what waits, in words for the log. `write` stores some, all or none; what it took waits until it is back, so
    a write that fails or breaks off loses nothing. A store that is away is asked again, ever more rarely.
    """

    def __init__(
        self,
        what: str,
        write: Callable[[Sequence[_T]], Awaitable[None]],
        background: Background,
        *,
        pace: Pace | None = None,
        room: Room | None = None,
    ) -> None:
        self._what = what
        self._write = write
        self._background = background
        self._pace = pace or Pace()
        self._room = room or Room()
        self._entries: dict[str, _Entry[_T]] = {}
        self._weight = 0
        self._unsaid = 0
        self._writing: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()
        self.given_up = 0
        """How many were given up for want of room, ever."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[_T]:
        """Give what waits, the oldest first."""
        return (entry.value for entry in self._entries.values())

    def get(self, key: str) -> _T | None:
        """Give what waits under a key."""
        entry = self._entries.get(key)
        return entry.value if entry is not None else None

    def put(self, key: str, value: _T, weight: int = 0) -> None:
        """Have something stored, later; nothing waits for it."""
        self.drop(key)
        self._entries[key] = _Entry(value, weight)
        self._weight += weight
        while self._over():
            self.drop(next(iter(self._entries)))
            self.given_up += 1
            self._unsaid += 1
        if self._entries and (self._writing is None or self._writing.done()):
            self._writing = self._background.spawn(self._write_all(), self._what, apart=True)

    def drop(self, key: str) -> None:
        """Store it no more; fine when it does not wait."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._weight -= entry.weight

    def hurry(self) -> None:
        """The controller stops: store what waits at once, and try only once."""
        self._hurried.set()

    async def written(self) -> None:
        """Wait until the writes are over: nothing waits any more, or it was tried in a hurry."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing})

    def _over(self) -> bool:
        number, weight = self._room.number, self._room.weight
        return (number is not None and len(self._entries) > number) or (weight is not None and self._weight > weight)

    async def _write_all(self) -> None:
        retry_s = RETRY_S
        await self._pause(self._pace.gather_s)
        while batch := self._batch():
            try:
                await self._write([entry.value for entry in batch.values()])
            except StoreUnavailable as error:
                self._say_not_stored(error)
                if self._hurried.is_set():
                    return
                await self._pause(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
            else:
                retry_s = RETRY_S
                self._stored(batch)
                if self._pace.full_at is None or len(self._entries) < self._pace.full_at:
                    await self._pause(self._pace.gather_s)

    def _batch(self) -> dict[str, _Entry[_T]]:
        """Give the oldest that fit into one write; one alone always does."""
        batch: dict[str, _Entry[_T]] = {}
        weight, most = 0, self._pace.batch_weight
        for key, entry in islice(self._entries.items(), self._pace.batch):
            weight += entry.weight
            if batch and most is not None and weight > most:
                break
            batch[key] = entry
        return batch

    def _stored(self, batch: dict[str, _Entry[_T]]) -> None:
        for key, entry in batch.items():
            # Not what took its place meanwhile.
            if self._entries.get(key) is entry:
                self.drop(key)

    def _say_not_stored(self, error: StoreUnavailable) -> None:
        given_up, self._unsaid = self._unsaid, 0
        log.warning("could not be stored yet", what=self._what, waiting=len(self), given_up=given_up, error=str(error))

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
