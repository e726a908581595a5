"""A live sandbox gets another size: its limits change in place, and nothing in it is lost."""

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from sandbox.errors import EngineUnavailable, RuntimeFault, WorkbenchError
from sandbox.runtimes.base import SIZES, Runtime, Size
from sandbox.sessions.admission import Admission
from sandbox.sessions.memory import in_mib
from sandbox.sessions.sandbox import LiveSandbox

log = structlog.get_logger(__name__)

_MARGIN: Final = 7 / 8
"""Of a lower memory limit, that may be in use when it is set: what is over the limit then is killed."""


class Resizing:
    """Resizes sandboxes; their room is counted anew."""

    def __init__(self, runtime: Runtime, admission: Admission, *, deadline_s: float) -> None:
        self._runtime = runtime
        self._admission = admission
        self._deadline_s = deadline_s

    async def fit(self, sandbox: LiveSandbox, size_name: str) -> str | None:
        """Give a live sandbox a size, and say in words what came of it; None when it has it already.

        One that cannot get it keeps the size that it has; the next call tries again.
        """
        old, new = sandbox.spec.size, SIZES.get(size_name, sandbox.spec.size)
        if old.name == new.name:
            return None
        try:
            limited = await self._resize(sandbox, old, new)
        except WorkbenchError as error:
            log.warning("a sandbox could not be resized", sandbox=sandbox.sandbox_id, size=new.name, error=str(error))
            return f"The sandbox still has size {old.name}, not {new.name}: {error.message}. The next call tries again."
        sandbox.spec = replace(sandbox.spec, size=new)
        if not limited:
            return f"Size {new.name} changes nothing: sandboxes of this runtime have no limits."
        log.info("sandbox resized", sandbox=sandbox.sandbox_id, before=old.name, size=new.name)
        return f"The sandbox was resized in place from {old.name} to {new.name}; variables and files are kept."

    async def _resize(self, sandbox: LiveSandbox, old: Size, new: Size) -> bool:
        if new.memory_bytes < old.memory_bytes:
            await _check_use(sandbox, new)
            limited = await self._within(sandbox, new)
            self._admission.shrink(sandbox.sandbox_id, new.memory_bytes)
            return limited
        await self._admission.grow(sandbox.sandbox_id, new.memory_bytes)
        resized = False
        try:
            limited = await self._within(sandbox, new)
            resized = True
        finally:
            if not resized:
                self._admission.shrink(sandbox.sandbox_id, old.memory_bytes)
        return limited

    async def _within(self, sandbox: LiveSandbox, size: Size) -> bool:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._runtime.resize(sandbox.sandbox_id, size)
        except TimeoutError:
            raise EngineUnavailable(f"the engine did not resize it within {self._deadline_s:g} s") from None


async def _check_use(sandbox: LiveSandbox, size: Size) -> None:
    """Raise when more memory is in use than a lower limit leaves alone."""
    status = (await sandbox.status()).agent
    if status is None or status.memory_bytes is None:
        return
    if status.memory_bytes > _MARGIN * size.memory_bytes:
        raise RuntimeFault(
            f"{in_mib(status.memory_bytes)} of memory are in use, too much for its {in_mib(size.memory_bytes)}",
            suggested_fix="Delete large variables or restart the kernel first.",
        )
