"""Calls to a runtime under our own deadline, whatever the driver does."""

import asyncio

from sandbox.errors import EngineUnavailable
from sandbox.runtimes.base import Runtime


async def remove_from(runtime: Runtime, sandbox_id: str, deadline_s: float) -> None:
    """Remove a sandbox under a deadline.

    Raises:
        RuntimeFault: the engine could not, or not in time.
    """
    try:
        async with asyncio.timeout(deadline_s):
            await runtime.remove(sandbox_id)
    except TimeoutError:
        raise EngineUnavailable(
            f"sandbox {sandbox_id} was not removed within {deadline_s:g} s",
            suggested_fix="Look at the engine: `workbench doctor`.",
        ) from None
