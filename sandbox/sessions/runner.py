"""Runs one execution from its request to its end, whatever happens on the way."""

import asyncio

from sandbox.errors import InternalError, WorkbenchError
from sandbox.pipe.messages import Ending
from sandbox.sessions.execution import Execution, not_started, sandbox_gone
from sandbox.sessions.live import ExecutionResult
from sandbox.sessions.place import Place
from sandbox.sessions.source import Run

_SHUT_DOWN = "the controller was shut down"


async def run(execution: Execution, place: Place, body: Run) -> None:
    """Get the session's sandbox and run `body` in it; the execution always ends, exactly once."""
    outcome: ExecutionResult | WorkbenchError = InternalError("the execution broke off; the log says why")
    try:
        outcome = await _outcome(execution, place, body)
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
    execution.sandbox_suffix = given.sandbox.suffix
    execution.recreated = given.recreated
    return await given.sandbox.run(execution, body)


def ending_of(execution: Execution) -> Ending | None:
    """Give how it ended; None when no sandbox could be had."""
    return execution.result.ending if execution.result is not None else None
