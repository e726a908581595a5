"""Removes from the store what is over its bounds, in the background, a bounded piece at a time."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from sandbox.errors import StoreUnavailable
from sandbox.sessions.background import Background
from sandbox.sessions.store import Retention, Store

log = structlog.get_logger(__name__)

SWEEP_ROWS: Final = 500
"""Rows of a kind that one step removes: others write between two steps."""


class Sweep:
    """Sweeps every `interval_s`, until nothing is over the bounds."""

    def __init__(self, store: Store, retention: Retention, clock: Callable[[], datetime], *, interval_s: float) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._interval_s = interval_s

    def start(self, background: Background) -> None:
        """Begin; it ends with the tasks of `background`."""
        background.spawn_lasting(self._run(), "sweep of the store")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                removed = await self._sweep()
            except StoreUnavailable as error:
                log.warning("what is over could not be removed from the store", error=str(error))
            else:
                if removed:
                    log.info("what is over was removed from the store", rows=removed)

    async def _sweep(self) -> int:
        removed = 0
        while step := await self._store.purge(self._retention, self._clock(), at_most=SWEEP_ROWS):
            removed += step
        return removed
