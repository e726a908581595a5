"""Runs one execution from its request to its end, whatever happens on the way."""

import asyncio
from collections.abc import Awaitable

from sandbox.errors import ExecutionGoesOn, InternalError, WorkbenchError
from sandbox.pipe.frames import Survivor
from sandbox.sessions.execution import Execution, not_started, sandbox_gone
from sandbox.sessions.live import ExecutionResult
from sandbox.sessions.place import Place
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.source import Run

_SHUT_DOWN = "the controller was shut down"


async def run(execution: Execution, place: Place, body: Run) -> None:
    """Get the session's sandbox and run `body` in it; the execution always ends, exactly once."""
    await _to_its_end(execution, _outcome(execution, place, body))


async def rejoin(execution: Execution, sandbox: LiveSandbox, survivor: Survivor) -> None:
    """Follow an execution that an earlier controller began, to its end; what it said is said again."""
    execution.sandbox_suffix = sandbox.suffix
    await _to_its_end(execution, sandbox.run(execution, survivor))


async def _to_its_end(execution: Execution, work: Awaitable[ExecutionResult]) -> None:
    outcome: ExecutionResult | WorkbenchError = InternalError("the execution broke off; the log says why")
    try:
        outcome = await work
    except ExecutionGoesOn as why:
        execution.release(why)
    except WorkbenchError as error:
        outcome = error
    except asyncio.CancelledError:
        if execution.sent or not execution.interrupted:
            outcome = sandbox_gone(execution.kind, _SHUT_DOWN)
            raise
        outcome = not_started(execution.kind, "interrupted while it waited for its sandbox")
    finally:
        execution.end(outcome)


async def _outcome(execution: Execution, place: Place, body: Run) -> ExecutionResult:
    if execution.interrupted:
        return not_started(execution.kind, "interrupted before it began")
    task = asyncio.current_task()
    if task is not None:
        execution.stop_with(task.cancel, sent=False)
    given = await place.sandbox()
    while not await given.sandbox.reachable():
        given = await place.sandbox()
    execution.sandbox_suffix = given.sandbox.suffix
    execution.recreated = given.recreated
    execution.resized = await place.fit(given.sandbox)
    return await given.sandbox.run(execution, body)
