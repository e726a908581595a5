"""Room for the answers of all upstreams together: counted while they come, and as long as somebody holds them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from sandbox.byte_room import ByteRoom
from sandbox.errors import UpstreamInvalid
from sandbox.limits import MIB

FREE_BYTES: Final = MIB
"""The beginning of an answer, which is not counted: there are not more of them than calls at the same time."""

WAIT_S: Final = 20.0
"""Seconds for which an answer waits in the middle for room."""


class AnswerRoom:
    """`most`: bytes that answers take together. `wait_s`: how long one waits for others to be done with theirs."""

    def __init__(self, most: int, *, wait_s: float = WAIT_S) -> None:
        self.most = most
        self.wait_s = wait_s
        self.bytes = ByteRoom(most)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Count the answers to all calls that are made within this, also by tasks begun within it, until its end."""
        outer = _holder.get()
        if outer is not None and not outer.closed:
            yield  # that one holds them longer
            return
        holder = _Holder(self)
        token = _holder.set(holder)
        try:
            yield
        finally:
            _holder.reset(token)
            holder.close()


class _Holder:
    """Who holds answers, and how many bytes of them. A task that outlives it has it still, `closed`."""

    def __init__(self, room: AnswerRoom) -> None:
        self.room = room
        self._taken = 0
        self.closed = False

    async def take(self, count: int) -> None:
        await self.room.bytes.take(count)
        self._taken += count
        if self.closed:
            self.give_back(count)

    def give_back(self, count: int) -> None:
        count = min(count, self._taken)
        self._taken -= count
        self.room.bytes.give_back(count)

    def close(self) -> None:
        self.closed = True
        self.give_back(self._taken)


_holder: ContextVar[_Holder | None] = ContextVar("answers", default=None)


class Coming:
    """An answer that comes, as a context manager: without `keep` before its end, it is counted no more after it.

    `what`: what errors call the upstream. `most`: bytes of one answer. `expected`: its bytes, if it says so.
    `covered`: how many may be here before `cover` has to be asked.
    """

    def __init__(self, what: str, most: int, expected: int | None = None) -> None:
        self.covered = FREE_BYTES
        self._what = what
        self._most = most
        self._expected = expected or 0
        self._holder = _holder.get()
        self._taken = 0
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            self.keep(0)

    async def cover(self, size: int) -> None:
        """Wait until there is room for an answer of which `size` bytes are here.

        Raises:
            UpstreamInvalid: there is none within the time for that.
        """
        ahead = self._expected if self._expected >= size else max(2 * self.covered, size)
        wanted = max(min(ahead, self._most), size)
        if self._holder is not None:
            await self._take(self._holder, wanted - FREE_BYTES - self._taken)
        self.covered = wanted

    def keep(self, size: int) -> None:
        """It is whole and has `size` bytes."""
        self._over = True
        unused = self._taken - max(size - FREE_BYTES, 0)
        if self._holder is not None and unused > 0:
            self._taken -= unused
            self._holder.give_back(unused)

    async def _take(self, holder: _Holder, count: int) -> None:
        room = holder.room
        try:
            if self._taken + count > room.most:
                raise self._refusal(room)
            async with asyncio.timeout(room.wait_s):
                await holder.take(count)
        except TimeoutError:
            raise self._refusal(room) from None
        self._taken += count
        if self._over:
            self.keep(0)  # nobody waits for it any more

    def _refusal(self, room: AnswerRoom) -> UpstreamInvalid:
        return UpstreamInvalid(
            f"{self._what} has answered, and there is no room for its answer: it is over {self.covered} bytes, and all "
            f"answers together may take {room.most} bytes",
            suggested_fix="Make fewer calls with large answers at the same time, or raise tool_answers_max_bytes.",
        )
