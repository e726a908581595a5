"""Sandboxes that the engine could not be made to remove: tried again until it can, so that none stays unowned."""

import asyncio
from collections.abc import Callable

import structlog

from sandbox.errors import RuntimeFault
from sandbox.runtimes.base import Runtime
from sandbox.sessions.background import Background
from sandbox.sessions.engine_calls import remove_from

log = structlog.get_logger(__name__)

Owe = Callable[[str], None]
"""Told the id of a sandbox that has to be removed as soon as that can be done."""

_PAUSE_S = 1.0
_PAUSE_MAX_S = 60.0
_ROUNDS = 3
"""How often the engine has to say that there is no such sandbox: a creation that hung may still come true."""


class Debts:
    """Owed removals. One question to the engine a round, however many are owed."""

    def __init__(self, runtime: Runtime, installation: str, background: Background, *, deadline_s: float) -> None:
        self._runtime = runtime
        self._installation = installation
        self._background = background
        self._deadline_s = deadline_s
        self._owed: dict[str, int] = {}
        self._paying = False

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, sandbox_id: str) -> None:
        """Remove this sandbox as soon as the engine can; fine when there is none."""
        self._owed[sandbox_id] = _ROUNDS
        if not self._paying:
            self._paying = True
            self._background.spawn_lasting(self._pay_all(), "removals that are owed")

    async def _pay_all(self) -> None:
        pause_s = _PAUSE_S
        try:
            while self._owed:
                await asyncio.sleep(pause_s)
                pause_s = _PAUSE_S if await self._pay() else min(2 * pause_s, _PAUSE_MAX_S)
        finally:
            self._paying = False

    async def _pay(self) -> bool:
        """Remove what is owed and there. Whether the engine could be asked, and could do it."""
        owed = list(self._owed)
        try:
            async with asyncio.timeout(self._deadline_s):
                there = {info.sandbox_id for info in await self._runtime.list(self._installation)}
            for sandbox_id in owed:
                if sandbox_id in there:
                    # To the end: should the engine never be able to remove this one, the next round begins with others.
                    self._owed[sandbox_id] = self._owed.pop(sandbox_id)
                    await remove_from(self._runtime, sandbox_id, self._deadline_s)
                    log.info("a sandbox was removed at last", sandbox=sandbox_id)
                self._owed[sandbox_id] -= 1
                if sandbox_id in there or not self._owed[sandbox_id]:
                    del self._owed[sandbox_id]
        except (RuntimeFault, TimeoutError):
            return False
        return True
