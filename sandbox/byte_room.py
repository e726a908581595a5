"""Room for bytes that are held in memory: who wants some waits until it is there, first come first served."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class ByteRoom:
    """`most`: bytes that may be held at the same time. One alone may not want more."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Hold so many bytes within this, after waiting for them. Bounded by the caller's deadline."""
        await self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    async def take(self, size: int) -> None:
        """Wait for so many bytes; `give_back` has to follow. Bounded by the caller's deadline."""
        if not self._waiting and size <= self._left:
            self._left -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)  # it was given in the same moment
            else:
                with suppress(ValueError):  # room was made in the same moment, and it was passed over
                    self._waiting.remove((size, turn))
                self._look()
            raise

    def give_back(self, size: int) -> None:
        """Let others have so many bytes."""
        self._left += size
        self._look()

    def _look(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._left:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._left -= size
                turn.set_result(None)
