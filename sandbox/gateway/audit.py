"""The audit of helper calls: written behind the calls, in batches, bounded in memory, and removed after its days."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from sandbox.errors import StoreUnavailable
from sandbox.gateway.budget import HOURS, Budget
from sandbox.sessions.background import Background
from sandbox.sessions.call_record import CallRecord, CallStore
from sandbox.sessions.write_behind import Pace, Room, WriteBehind

log = structlog.get_logger(__name__)

GATHER_S: Final = 0.25
"""How long calls are gathered before they are stored together."""

BATCH: Final = 500
"""Rows of one write, which is composed on the event loop."""

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
        self._background = Background()
        self._rows: WriteBehind[CallRecord] = WriteBehind(
            "audit of helper calls",
            self._write,
            self._background,
            pace=Pace(GATHER_S, batch=BATCH, full_at=BATCH),
            room=Room(bounds.waiting),
        )

    @property
    def waiting(self) -> int:
        """How many rows are not stored yet."""
        return len(self._rows)

    @property
    def dropped(self) -> int:
        """How many rows were lost, because too many waited."""
        return self._rows.given_up

    def start(self) -> None:
        """Begin to remove what is too old."""
        self._background.spawn_lasting(self._sweep(), "sweep of the audit")

    def note(self, row: CallRecord) -> None:
        """Store a row, later; nothing waits for it. When too many wait, the oldest is dropped."""
        self._rows.put(row.id, row)

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
        self._rows.hurry()
        await self._background.settle(timeout_s)
        await self._background.aclose(timeout_s)
        if self.waiting:
            log.warning("rows of the audit are lost at the end", count=self.waiting)

    async def _write(self, rows: Sequence[CallRecord]) -> None:
        usage = self._budget.take_unwritten()
        stored = False
        try:
            await self._store.keep_calls(rows, usage)
            stored = True
        finally:
            if not stored:
                self._budget.put_back(usage)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.sweep_s)
            now = datetime.now(UTC)
            hour = int(now.timestamp()) // 3600 - HOURS
            try:
                while await self._store.purge_calls(now - timedelta(days=self._bounds.days), hour, at_most=_SWEEP_ROWS):
                    pass
            except StoreUnavailable as error:
                log.warning("old rows of the audit could not be removed", error=str(error))
