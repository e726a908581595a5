"""A pipe that was cut under a sandbox that lives on: open it again, or say why that cannot be."""

import asyncio
from dataclasses import dataclass

import structlog

from sandbox.errors import PipeError, RuntimeFault
from sandbox.limits import SYNC_TIMEOUT_S
from sandbox.pipe.peer import Peer
from sandbox.runtimes.base import Condition, Runtime, SandboxInfo

log = structlog.get_logger(__name__)

_PAUSE_S = 0.05
_PAUSE_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class Lost:
    """There will be no pipe. `reason`: why, in words. `ended`: the sandbox is there, with its files, but has ended."""

    reason: str
    ended: bool = False


async def reopen(runtime: Runtime, sandbox_id: str, boot: str, *, window_s: float) -> Peer | Lost:
    """Open the pipe to the agent `boot` again, trying for `window_s`: an engine that restarts is away for a while.

    What the agent has had before is joined over the new pipe, not asked for again: see `Peer.call`. A sandbox that was
    paused from outside is resumed: nothing of it is lost by that.
    """
    trouble = "no answer"
    pause_s = _PAUSE_S
    try:
        async with asyncio.timeout(window_s):
            while True:
                try:
                    return await _attempt(runtime, sandbox_id, boot)
                except (RuntimeFault, PipeError) as error:
                    trouble = error.message
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
    except TimeoutError:
        return Lost(f"its pipe was cut and could not be opened again within {window_s:g} s: {trouble}")


async def look(runtime: Runtime, sandbox_id: str) -> SandboxInfo:
    """Say how a sandbox is, and resume it when it was paused from outside. Raises `RuntimeFault`."""
    info = await runtime.inspect(sandbox_id)
    if info.condition is Condition.PAUSED:
        log.warning("a sandbox was paused from outside and is resumed", sandbox=sandbox_id)
        await runtime.resume(sandbox_id)
    return info


def why_not_running(info: SandboxInfo) -> str | None:
    """Say in words what the engine says of a sandbox that does not run; None for one that runs."""
    detail = f" ({info.detail[:300]})" if info.detail else ""
    match info.condition:
        case Condition.EXITED:
            return f"it ended by itself or was stopped from outside{detail}"
        case Condition.GONE:
            return f"it was removed from outside{detail}"
        case Condition.PAUSED:
            return f"it was paused from outside{detail}"
        case Condition.RUNNING:
            return None


async def _attempt(runtime: Runtime, sandbox_id: str, boot: str) -> Peer | Lost:
    info = await look(runtime, sandbox_id)
    if info.condition in (Condition.EXITED, Condition.GONE):
        return Lost(why_not_running(info) or "", ended=info.condition is Condition.EXITED)
    peer = Peer(await runtime.open(sandbox_id))
    try:
        hello = await peer.sync(SYNC_TIMEOUT_S)
    except BaseException:
        peer.close()
        raise
    if hello.boot != boot:
        peer.close()
        return Lost("it was restarted from outside: its agent is a new one", ended=True)
    return peer
