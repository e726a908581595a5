"""A pipe that was cut under a sandbox that lives on: open it again, or say why that cannot be."""

import asyncio
from dataclasses import dataclass

from sandbox.errors import PipeError, RuntimeFault, SandboxGone
from sandbox.limits import SYNC_TIMEOUT_S
from sandbox.pipe.peer import Peer
from sandbox.runtimes.base import Condition, Runtime, SandboxInfo

_PAUSE_S = 0.05
_PAUSE_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class Reopened:
    """The new pipe, and the executions that the agent has had before it: they are to be joined, not asked for."""

    peer: Peer
    survivors: frozenset[str]


async def reopen(runtime: Runtime, sandbox_id: str, boot: str, *, window_s: float) -> Reopened:
    """Open the pipe to the agent `boot` again, trying for `window_s`: an engine that restarts is away for a while.

    Raises:
        SandboxGone: the sandbox does not run any more, has another agent, or could not be reached in time.
    """
    trouble = "no answer"
    pause_s = _PAUSE_S
    try:
        async with asyncio.timeout(window_s):
            while True:
                try:
                    return await _attempt(runtime, sandbox_id, boot)
                except SandboxGone:
                    raise
                except (RuntimeFault, PipeError) as error:
                    trouble = error.message
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
    except TimeoutError:
        raise SandboxGone(f"its pipe was cut and could not be opened again within {window_s:g} s: {trouble}") from None


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


async def _attempt(runtime: Runtime, sandbox_id: str, boot: str) -> Reopened:
    why_not = why_not_running(await runtime.inspect(sandbox_id))
    if why_not is not None:
        raise SandboxGone(why_not)
    peer = Peer(await runtime.open(sandbox_id))
    try:
        hello = await peer.sync(SYNC_TIMEOUT_S)
    except BaseException:
        peer.close()
        raise
    if hello.boot != boot:
        peer.close()
        raise SandboxGone("it was restarted from outside: its agent is a new one")
    return Reopened(peer, frozenset(survivor.id for survivor in hello.survivors))
