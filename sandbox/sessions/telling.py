"""What is told of an execution: to the log by names in its task's context, and to the observer. Never what it ran."""

import structlog

from sandbox.sessions.execution import Execution
from sandbox.sessions.observer import Observer

log = structlog.get_logger(__name__)


def bind(execution: Execution) -> None:
    """Put the ids of an execution on all lines that its task logs from here on."""
    structlog.contextvars.bind_contextvars(session=execution.session_id, execution=execution.id)


def ended(execution: Execution, observer: Observer, seconds: float) -> None:
    """Tell how an execution ended, `seconds` after it was asked for, and where the time went."""
    ending = execution.result.ending if execution.result is not None else None
    stages = execution.stages()
    observer.execution_ended(execution.kind, ending, seconds)
    for name, value in stages.items():
        observer.stage(name, value)
    if execution.error is not None:
        observer.fault("execution", execution.error.slug)
    log.info(
        "execution ended",
        kind=execution.kind,
        ending=ending.value if ending is not None else execution.error.slug if execution.error else None,
        sandbox=execution.sandbox_suffix or None,
        ms=round(seconds * 1000, 2),
        **{f"{name}_ms": round(value * 1000, 2) for name, value in stages.items()},
    )
