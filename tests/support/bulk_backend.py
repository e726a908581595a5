"""A tool backend for calls in bulk: keeps a ledger by the number among the arguments, can hold calls and spoil them."""

import asyncio
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from tests.support.composio_backend import ComposioBackend
from tests.support.faulty_server import Fault, Reply, Seen

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

SLUG: Final = "TEST_NUMBER"
DEADLINE_S: Final = 60.0


class BulkBackend(ComposioBackend):
    """Its tool gives its arguments back. `ledger`: how often each number `n` was executed.

    `hold_after`: so many are executed; those that come then wait, before they are executed, until `release`.
    `silent_after`: those that come then are executed and never answered. `limited`: numbers whose first request gets a
    429, with its `Retry-After`. `dropped`: numbers whose request is cut when it has been executed. `cut_heads`: every
    so-manyth connection or request is cut before it is read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tools = {SLUG: lambda arguments: arguments}
        self.ledger: Counter[int] = Counter()
        self.hold_after: int | None = None
        self.silent_after: int | None = None
        self.limited: dict[int, str | None] = {}
        self.dropped: AbstractSet[int] = frozenset()
        self.cut_heads = 0
        self.heads_cut = 0
        self.held = 0
        self.full = threading.Semaphore(0)
        self._heads = 0
        self._open = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def forget(self) -> None:
        """Be well again, with an empty ledger."""
        fresh = BulkBackend()
        for name in ("ledger", "hold_after", "silent_after", "limited", "dropped", "cut_heads", "heads_cut", "held"):
            setattr(self, name, getattr(fresh, name))
        self.full, self._open, self.faults = fresh.full, fresh._open, deque()
        self.seen.clear()
        self.executed.clear()
        self.abandoned = asyncio.Semaphore(0)

    def wait_held(self, calls: int) -> None:
        """Wait until so many calls are held or silent."""
        for _ in range(calls):
            assert self.full.acquire(timeout=DEADLINE_S)

    def wait_abandoned(self, calls: int) -> None:
        """Wait until the clients of so many calls that are never answered have gone."""
        assert self._loop is not None
        for _ in range(calls):
            asyncio.run_coroutine_threadsafe(self.abandoned.acquire(), self._loop).result(DEADLINE_S)

    def release(self) -> None:
        """Let all go on that are held, and hold no more."""
        self.hold_after = None
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._open.set)

    async def answer(self, request: Seen) -> Reply:
        self._loop = asyncio.get_running_loop()
        if not request.path.endswith(SLUG):
            return await super().answer(request)
        number = request.json["arguments"]["n"]
        if number in self.limited:
            after = self.limited.pop(number)
            return Reply(429, b'{"error":{"message":"slow down"}}', {} if after is None else {"retry-after": after})
        if self.hold_after is not None and len(self.ledger) >= self.hold_after:
            self.held += 1
            self.full.release()
            await self._open.wait()
        self.ledger[number] += 1
        self._spoil(number)
        return await super().answer(request)

    def _spoil(self, number: int) -> None:
        """Say what becomes of the answer; nothing else runs between this and its use."""
        if self.silent_after is not None and len(self.ledger) > self.silent_after:
            self.full.release()
            self.faults.append(Fault.SILENT)
        elif number in self.dropped:
            self.faults.append(Fault.RESET_AFTER_REQUEST)

    def _next(self, fault: Fault) -> bool:
        if not self.cut_heads or fault is not Fault.RESET_AT_ONCE:
            return super()._next(fault)
        self._heads += 1
        cut = self._heads % self.cut_heads == 0
        self.heads_cut += cut
        return cut

    def settings(self) -> dict[str, Any]:
        """Give the settings of a controller that calls it."""
        return {"composio_api_key": self.key, "composio_base_url": self.url}
