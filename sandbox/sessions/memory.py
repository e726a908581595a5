"""How much memory sandboxes may have together: what the setting says, else a share of what the engine has."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sandbox.errors import SandboxStartFailed
from sandbox.limits import MIB
from sandbox.sessions.background import Background

SHARE: Final = 0.8
"""Of the engine's memory, when nothing is set: the rest is for the engine, the system and this controller."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that the limits of all sandboxes may add up to, and that the only one there is may have.

    `source`: where the first number is from, in words.
    """

    total_bytes: int
    largest_bytes: int
    source: str


class MemoryBound:
    """The bound. `setting` None: `SHARE` of what `ask` gives, which the engine is asked for once, when it answers."""

    def __init__(self, setting: int | None, ask: Callable[[], Awaitable[int]], background: Background) -> None:
        self._ask = ask
        self._background = background
        self._asking: asyncio.Task[None] | None = None
        self._memory = None if setting is None else Memory(setting, setting, "as it is set")

    async def learn(self) -> None:
        """Ask the engine unless the bound is known; all who ask at the same time share one question.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        if self._memory is not None:
            return
        if self._asking is None:
            self._asking = self._background.spawn(self._learn(), "memory of the engine", awaited=True)
            self._asking.add_done_callback(self._asked)
        await asyncio.shield(self._asking)

    def check(self, wanted_bytes: int) -> None:
        """Refuse a sandbox that could not even be the only one: it would wait for ever.

        Raises:
            SandboxStartFailed: its memory limit is over the bound, or over the memory of the machine.
        """
        memory = self._memory
        if memory is not None and wanted_bytes > memory.largest_bytes:
            raise SandboxStartFailed(
                f"a sandbox of this size has {in_mib(wanted_bytes)} of memory, and there are no more than "
                f"{in_mib(memory.largest_bytes)}: `max_memory_bytes` is {in_mib(memory.total_bytes)} ({memory.source})",
                suggested_fix="Ask for a smaller `sandbox_size`, take a larger machine, or set `max_memory_bytes`.",
            )

    def has_room(self, held_bytes: int, wanted_bytes: int) -> bool:
        """Whether one more fits. The only one there is may have more than the share, up to the whole machine."""
        memory = self._memory
        if memory is None:
            return False
        return held_bytes + wanted_bytes <= (memory.total_bytes if held_bytes else memory.largest_bytes)

    def __str__(self) -> str:
        memory = self._memory
        return "not known" if memory is None else f"{in_mib(memory.total_bytes)} ({memory.source})"

    async def _learn(self) -> None:
        engine_bytes = await self._ask()
        source = f"{SHARE * 100:g} % of the engine's {in_mib(engine_bytes)}"
        self._memory = Memory(int(SHARE * engine_bytes), engine_bytes, source)

    def _asked(self, _task: asyncio.Task[None]) -> None:
        self._asking = None


def in_mib(count: int) -> str:
    """`1,024 MiB`."""
    return f"{count // MIB:,} MiB"
