"""From what a cell said and how it ended to its result."""

import signal
from pathlib import Path

from sandbox.agent.execution import Execution
from sandbox.agent.joining import Joined, join_files, left_out
from sandbox.agent.kernel import signal_name
from sandbox.agent.output import bounded_text
from sandbox.agent.resources import oom_kills
from sandbox.agent.spill_room import Claim
from sandbox.limits import INLINE_CHARS
from sandbox.pipe.messages import CodeError, CodeResult, Ending, StreamName, StreamOutput


async def cell_result(execution: Execution, folder: Path, *, duration_ms: float, note: str | None) -> CodeResult:
    """Close a cell that has ended and say all about it. `note`: words that are not about its output."""
    cell, streams = execution.cell, execution.cell.streams
    error = cell.close()
    if streams.live is not None:
        streams.live.close()
    stdout = streams.captures[StreamName.STDOUT].close()
    stderr = streams.captures[StreamName.STDERR].close()
    text = cell.displays.value()
    value = bounded_text(text, folder / f"{streams.prefix}_value.txt", streams.claim) if text else StreamOutput()
    how = execution.died
    ending = _ending(execution, error)
    out_of_memory = _out_of_memory(execution)
    results = await _results(stdout, value, folder / f"{streams.prefix}_results.txt", streams.claim)
    notes = [words for words in (note, *cell.notes(), streams.claim.note(), results.why) if words]
    if out_of_memory and ending is not Ending.KERNEL_DIED:
        notes.append("a process of this cell was killed: out of memory")
    return CodeResult(
        ending=ending,
        action=execution.action,
        variables_kept=how is None and not execution.condemned,
        exit_code=how.code if how and ending is Ending.KERNEL_DIED else None,
        signal=signal_name(how.signal) if how and how.signal is not None and ending is Ending.KERNEL_DIED else None,
        out_of_memory=out_of_memory and ending is Ending.KERNEL_DIED,
        stdout=stdout,
        stderr=stderr,
        value=value,
        results_path=results.path,
        error=error,
        artifacts=cell.store.saved,
        artifacts_dropped=cell.store.dropped,
        execution_count=cell.reply.execution_count if cell.reply else None,
        duration_ms=duration_ms,
        note="; ".join(notes) or None,
    )


def _ending(execution: Execution, error: CodeError | None) -> Ending:
    if execution.why is not None:
        return execution.why
    if execution.died is not None:
        return Ending.KERNEL_DIED
    return Ending.COMPLETED if error is None else Ending.ERROR


def _out_of_memory(execution: Execution) -> bool:
    """Whether the machine killed a process for want of memory while the cell ran."""
    died = execution.died
    # A short cell that its kernel survived is not looked at: that would cost each of them.
    may_be = execution.lasted if died is None else died.signal == signal.SIGKILL
    return may_be and oom_kills() > execution.oom_kills_before


async def _results(stdout: StreamOutput, value: StreamOutput, path: Path, claim: Claim) -> Joined:
    """Give the file with the whole notebook view, stdout and then the value, when that is too long for an answer."""
    spilled = stdout.path is not None or value.path is not None
    if not spilled and len(stdout.text) + len(value.text) <= INLINE_CHARS:
        return Joined(None)
    if not value.bytes:
        return Joined(stdout.path)
    if not stdout.bytes:
        return Joined(value.path)
    if not claim.take(stdout.bytes + value.bytes):
        return left_out(claim.refusal)
    return await join_files([stdout, value], path)
