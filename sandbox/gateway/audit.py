"""The audit of helper calls: written behind the calls, in batches, bounded in memory, and removed after its days."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import structlog

from sandbox.errors import StoreUnavailable
from sandbox.gateway.budget import HOURS, Budget
from sandbox.sessions.background import Background
from sandbox.sessions.call_record import CallRecord, CallStore

log = structlog.get_logger(__name__)

GATHER_S: Final = 0.25
"""How long calls are gathered before they are stored together."""

BATCH: Final = 500
"""Rows of one write, which is composed on the event loop."""

_RETRY_S: Final = 0.5
_RETRY_MAX_S: Final = 30.0
_SWEEP_ROWS: Final = 2000


@dataclass(frozen=True, slots=True)
class AuditBounds:
    """`waiting`: rows that may wait in memory to be stored. `days`: how long they are kept there."""

    days: float
    waiting: int = 50_000
    sweep_s: float = 60.0


class Audit:
    """Stores a row for each call, and what was used with it. `start` before use, `aclose` after it."""

    def __init__(self, store: CallStore, budget: Budget, bounds: AuditBounds) -> None:
        self._store = store
        self._budget = budget
        self._bounds = bounds
        self._rows: deque[CallRecord] = deque()
        self._background = Background()
        self._writing: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()
        self._unsaid = 0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many rows are not stored yet."""
        return len(self._rows)

    def start(self) -> None:
        """Begin to remove what is too old."""
        self._background.spawn_lasting(self._sweep(), "sweep of the audit")

    def note(self, row: CallRecord) -> None:
        """Store a row, later; nothing waits for it. When too many wait, the oldest is dropped."""
        self._rows.append(row)
        if len(self._rows) > self._bounds.waiting:
            self._rows.popleft()
            self.dropped += 1
            self._unsaid += 1
        if self._writing is None:
            self._writing = self._background.spawn(self._write(), "audit of helper calls", apart=True)
            self._writing.add_done_callback(self._written)

    async def of_session(
        self, session_id: str, *, limit: int, after: str | None, execution_id: str | None, status: str | None
    ) -> list[CallRecord]:
        """Give a session's calls, newest first, those that are not stored yet among them. Raises `StoreUnavailable`."""
        waiting = list(self._rows)  # before the store is asked: what is stored meanwhile is there twice, not missing
        stored = await self._store.calls(session_id, limit=limit, after=after, execution_id=execution_id, status=status)
        found = {row.id: row for row in stored}
        for row in waiting:
            if (
                row.session_id == session_id
                and (after is None or row.id < after)
                and execution_id in (None, row.execution_id)
                and status in (None, row.status)
            ):
                found[row.id] = row
        return [found[call_id] for call_id in sorted(found, reverse=True)[:limit]]

    async def aclose(self, timeout_s: float) -> None:
        """Store what waits, trying once, and end."""
        self._hurried.set()
        await self._background.settle(timeout_s)
        await self._background.aclose(timeout_s)
        if self._rows:
            log.warning("rows of the audit are lost at the end", count=len(self._rows))

    async def _write(self) -> None:
        retry_s = _RETRY_S
        await self._pause(GATHER_S)
        while self._rows:
            if await self._write_some():
                retry_s = _RETRY_S
                if len(self._rows) < BATCH:
                    await self._pause(GATHER_S)
            elif self._hurried.is_set():
                return
            else:
                await self._pause(retry_s)
                retry_s = min(2 * retry_s, _RETRY_MAX_S)
        # Not only when this task is known to be done: what is noted until then would wait for the next row.
        self._writing = None

    async def _write_some(self) -> bool:
        """Store the oldest rows; whether that worked. They stay here until it did."""
        batch = list(islice(self._rows, BATCH))
        usage = self._budget.take_unwritten()
        try:
            await self._store.keep_calls(batch, usage)
        except StoreUnavailable as error:
            self._budget.put_back(usage)
            dropped, self._unsaid = self._unsaid, 0
            log.warning("the audit could not be stored yet", waiting=self.waiting, dropped=dropped, error=error.message)
            return False
        last = batch[-1]
        if any(row is last for row in islice(self._rows, BATCH)):
            while self._rows.popleft() is not last:
                pass
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.sweep_s)
            now = datetime.now(UTC)
            hour = int(now.timestamp()) // 3600 - HOURS
            try:
                while await self._store.purge_calls(now - timedelta(days=self._bounds.days), hour, at_most=_SWEEP_ROWS):
                    pass
            except StoreUnavailable as error:
                log.warning("old rows of the audit could not be removed", error=error.message)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    def _written(self, task: asyncio.Task[None]) -> None:
        if self._writing is task:
            self._writing = None
