"""Results of ended executions, kept in the store: written behind the hot path, in batches.

The sandbox keeps an ending until it is stored, so a controller that is killed in between leaves it to the next one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from sandbox.errors import StoreUnavailable
from sandbox.sessions import ids
from sandbox.sessions.background import Background
from sandbox.sessions.execution import Execution
from sandbox.sessions.record import ExecutionRecord, record_of, restored
from sandbox.sessions.store import Store

log = structlog.get_logger(__name__)

GATHER_S: Final = 1.0
"""How long endings are gathered before they are stored together. With a quarter of it requests cost a tenth more."""

BATCH: Final = 200
BATCH_CHARS: Final = 1_000_000
"""Bounds of one write, which is composed on the event loop."""

_RETRY_S: Final = 0.5
_RETRY_MAX_S: Final = 30.0


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
    chars: int


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
        self._background = background
        self._clock = clock
        self._bounds = bounds
        self._enabled = enabled
        self._waiting: dict[str, _Waiting] = {}
        self._chars = 0
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many are not stored yet."""
        return len(self._waiting)

    def keep(self, execution: Execution) -> None:
        """Store an execution that has ended, later; nothing waits for it."""
        if not self._enabled:
            execution.acknowledge()
            return
        waiting = self._waiting[execution.id] = _Waiting(execution, self._clock(), execution.chars)
        self._chars += waiting.chars
        while len(self._waiting) > self._bounds.number or self._chars > self._bounds.chars:
            # Not acknowledged: its sandbox keeps it within bounds of its own.
            self._drop(next(iter(self._waiting)))
            self._dropped += 1
        if self._writing is None and self._waiting:
            self._writing = self._background.spawn(self._write(), "results of executions", apart=True)
            self._writing.add_done_callback(self._written)

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
        stored = await self._store.executions(session_id)
        ours = [each.execution for each in self._waiting.values() if each.execution.session_id == session_id]
        known = {execution.id for execution in ours}
        return [*reversed(ours), *(restored(record) for record in stored if record.id not in known)]

    def forget_session(self, session_id: str) -> None:
        """The session was deleted: nothing of it is stored any more."""
        for waiting in list(self._waiting.values()):
            if waiting.execution.session_id == session_id:
                self._drop(waiting.execution.id)
                waiting.execution.acknowledge()

    def hurry(self) -> None:
        """The controller stops: store what waits at once, and try only once."""
        self._hurried.set()

    async def written(self) -> None:
        """Wait until nothing waits to be stored."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self) -> None:
        retry_s = _RETRY_S
        await self._pause(GATHER_S)
        while batch := list(self._batch()):
            try:
                await self._store.keep_executions([record for _, record in batch], per_session=self._bounds.per_session)
            except StoreUnavailable as error:
                self._say_not_stored(error)
                if self._hurried.is_set():
                    return
                await self._pause(retry_s)
                retry_s = min(2 * retry_s, _RETRY_MAX_S)
            else:
                retry_s = _RETRY_S
                self._stored(execution for execution, _ in batch)
                await self._pause(GATHER_S)
        # Not only when this task is known to be done: what is kept until then would wait for the next one.
        self._writing = None

    def _batch(self) -> Iterator[tuple[Execution, ExecutionRecord]]:
        chars = 0
        for waiting in list(self._waiting.values())[:BATCH]:
            chars += waiting.chars
            if chars > max(BATCH_CHARS, waiting.chars):
                return
            try:
                yield waiting.execution, record_of(waiting.execution, waiting.ended_at)
            except UnicodeEncodeError:
                log.warning("a result cannot be stored: a text in it is none", execution=waiting.execution.id)
                self._drop(waiting.execution.id)
                waiting.execution.acknowledge()

    def _stored(self, batch: Iterable[Execution]) -> None:
        for execution in batch:
            self._drop(execution.id)
            execution.acknowledge()

    def _say_not_stored(self, error: StoreUnavailable) -> None:
        dropped, self._dropped = self._dropped, 0
        log.warning("results could not be stored yet", count=self.waiting, given_up=dropped, error=error.message)

    def _drop(self, execution_id: str) -> None:
        waiting = self._waiting.pop(execution_id, None)
        if waiting is not None:
            self._chars -= waiting.chars

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    def _written(self, task: asyncio.Task[None]) -> None:
        if self._writing is task:
            self._writing = None
