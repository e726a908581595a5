"""Results of ended executions, kept in the store: written behind the hot path, in batches.

The sandbox keeps an ending until it is stored, so a controller that is killed in between leaves it to the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from sandbox.sessions import ids
from sandbox.sessions.background import Background
from sandbox.sessions.execution import Execution
from sandbox.sessions.record import ExecutionRecord, record_of, restored
from sandbox.sessions.store import Store
from sandbox.sessions.write_behind import Pace, Room, WriteBehind

log = structlog.get_logger(__name__)

GATHER_S: Final = 1.0
"""How long endings are gathered before they are stored together. With a quarter of it requests cost a tenth more."""

BATCH: Final = 200
BATCH_CHARS: Final = 1_000_000
"""Bounds of one write, which is composed on the event loop."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`number`, `chars`: what may wait in memory to be stored; `per_session`: how many of a session are kept."""

    number: int
    chars: int
    per_session: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    execution: Execution
    ended_at: datetime


class Results:
    """Stores endings and finds them again. `enabled` false: none is stored, and sandboxes forget theirs at once."""

    def __init__(
        self,
        store: Store,
        background: Background,
        clock: Callable[[], datetime],
        bounds: Bounds,
        *,
        enabled: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._per_session = bounds.per_session
        self._enabled = enabled
        # One that is given up is not acknowledged: its sandbox keeps it within bounds of its own.
        self._waiting: WriteBehind[_Waiting] = WriteBehind(
            "results of executions",
            self._write,
            background,
            pace=Pace(GATHER_S, batch=BATCH, batch_weight=BATCH_CHARS),
            room=Room(bounds.number, bounds.chars),
        )

    @property
    def waiting(self) -> int:
        """How many are not stored yet."""
        return len(self._waiting)

    def keep(self, execution: Execution) -> None:
        """Store an execution that has ended, later; nothing waits for it."""
        if not self._enabled:
            execution.acknowledge()
            return
        self._waiting.put(execution.id, _Waiting(execution, self._clock()), execution.chars)

    async def find(self, owner: str, execution_id: str) -> Execution | None:
        """Give an ended execution. Raises `StoreUnavailable`."""
        waiting = self._waiting.get(execution_id)
        if waiting is not None and waiting.execution.owner == owner:
            return waiting.execution
        if not self._enabled or not ids.is_execution_id(execution_id):
            return None
        record = await self._store.execution(owner, execution_id)
        return restored(record) if record is not None else None

    async def of_session(self, session_id: str) -> list[Execution]:
        """Give a session's ended executions, at most as many as are kept. Raises `StoreUnavailable`."""
        if not self._enabled:
            return []
        # Before the store is asked: what is stored meanwhile is there twice, not missing.
        ours = [each.execution for each in self._waiting if each.execution.session_id == session_id]
        stored = await self._store.executions(session_id)
        known = {execution.id for execution in ours}
        return [*reversed(ours), *(restored(record) for record in stored if record.id not in known)]

    def forget_session(self, session_id: str) -> None:
        """The session was deleted: nothing of it is stored any more."""
        for waiting in list(self._waiting):
            if waiting.execution.session_id == session_id:
                self._give_up(waiting.execution)

    def hurry(self) -> None:
        """The controller stops: store what waits at once, and try only once."""
        self._waiting.hurry()

    async def written(self) -> None:
        """Wait until nothing waits to be stored."""
        await self._waiting.written()

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        records: list[ExecutionRecord] = []
        for waiting in batch:
            try:
                records.append(record_of(waiting.execution, waiting.ended_at))
            except UnicodeEncodeError:
                log.warning("a result cannot be stored: a text in it is none", execution=waiting.execution.id)
                self._give_up(waiting.execution)
        if records:
            await self._store.keep_executions(records, per_session=self._per_session)
        for waiting in batch:
            waiting.execution.acknowledge()

    def _give_up(self, execution: Execution) -> None:
        self._waiting.drop(execution.id)
        execution.acknowledge()
