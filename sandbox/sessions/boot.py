"""From nothing to a sandbox that takes executions; or to nothing again, with the reason."""

import asyncio

import structlog

from sandbox.errors import (
    CallFault,
    ImageMissing,
    PipeError,
    RuntimeFault,
    SandboxGone,
    SandboxStartFailed,
)
from sandbox.runtimes.base import Runtime, SandboxSpec
from sandbox.sessions.debts import Debts
from sandbox.sessions.engine_calls import remove_from, start_failed
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.sandbox import LiveSandbox

log = structlog.get_logger(__name__)


async def boot(runtime: Runtime, spec: SandboxSpec, limits: SessionLimits, debts: Debts) -> LiveSandbox:
    """Create a sandbox and wait until it takes executions. Nothing half made is left behind.

    Raises:
        EngineUnavailable, ImageMissing: as the runtime says.
        SandboxStartFailed: not ready within `boot_deadline_s`; the message has the agent's last words.
    """
    sandbox: LiveSandbox | None = None
    unfinished = True
    try:
        async with asyncio.timeout(limits.boot_deadline_s):
            await runtime.create(spec)
            link = await runtime.open(spec.sandbox_id)
            sandbox = LiveSandbox(runtime, spec, link, limits)
            await sandbox.ready()
            unfinished = False
    except TimeoutError:
        raise await start_failed(
            runtime, spec.sandbox_id, f"it was not ready within {limits.boot_deadline_s:g} s"
        ) from None
    except (PipeError, CallFault, SandboxGone) as error:
        raise await start_failed(runtime, spec.sandbox_id, error.message, error.suggested_fix) from error
    except (ImageMissing, SandboxStartFailed):
        # The runtime's own refusal: it leaves nothing. An engine that fell silent may have made it all the same.
        unfinished = sandbox is not None
        raise
    finally:
        if unfinished:
            if sandbox is not None:
                sandbox.retire("its start failed")
            await _undo(runtime, debts, spec.sandbox_id, limits.call_deadline_s)
    return sandbox


async def _undo(runtime: Runtime, debts: Debts, sandbox_id: str, deadline_s: float) -> None:
    try:
        await remove_from(runtime, sandbox_id, deadline_s)
    except RuntimeFault as error:
        log.warning("a sandbox that did not start could not be removed yet", sandbox=sandbox_id, error=str(error))
        debts.owe(sandbox_id)
