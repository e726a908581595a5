"""What becomes, at the controller's start, of the sandboxes that an earlier one left: they are removed."""

import asyncio

import structlog

from sandbox.errors import RuntimeFault
from sandbox.runtimes.base import Runtime
from sandbox.sessions.engine_calls import remove_from

log = structlog.get_logger(__name__)

_REMOVALS_AT_ONCE = 4


async def take_over(runtime: Runtime, installation: str, deadline_s: float) -> None:
    """Remove all sandboxes of this installation. An engine that does not answer is logged, and is no error here."""
    try:
        async with asyncio.timeout(deadline_s):
            left = await runtime.list(installation)
    except (RuntimeFault, TimeoutError) as error:
        log.warning("what earlier sandboxes are left is not known", error=str(error) or "no answer in time")
        return
    turns = asyncio.Semaphore(_REMOVALS_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for info in left:
            group.create_task(_remove(runtime, info.sandbox_id, deadline_s, turns))


async def _remove(runtime: Runtime, sandbox_id: str, deadline_s: float, turns: asyncio.Semaphore) -> None:
    async with turns:
        try:
            await remove_from(runtime, sandbox_id, deadline_s)
        except RuntimeFault as error:
            log.warning("a leftover could not be removed", sandbox=sandbox_id, error=error.message)
        else:
            log.info("a leftover was removed", sandbox=sandbox_id)
