"""Calls to a runtime under our own deadline, whatever the driver does."""

import asyncio
from typing import Final

from sandbox.errors import EngineUnavailable, RuntimeFault, SandboxStartFailed
from sandbox.runtimes.base import Runtime

_LAST_WORDS_S: Final = 3.0
"""How long the runtime is asked for an agent's last words."""

_WORDS_MAX: Final = 2000
"""Characters of an agent's last words that an error carries."""


async def start_failed(runtime: Runtime, sandbox_id: str, why: str, fix: str | None = None) -> SandboxStartFailed:
    """Make the error of a start that came to nothing, with the agent's last words."""
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            words = (await runtime.last_words(sandbox_id)).strip()[-_WORDS_MAX:]
    except (RuntimeFault, TimeoutError):
        words = ""
    told = f"; its last words:\n{words}" if words else "; it left no words"
    return SandboxStartFailed(
        f"sandbox {sandbox_id} did not start: {why}{told}", suggested_fix=fix or "Run `workbench doctor`."
    )


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
