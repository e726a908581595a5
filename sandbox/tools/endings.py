"""The one place that says how an execution ended: did it succeed, why not, and what is kept or lost. Pure."""

from typing import Final, Literal

import msgspec

from sandbox.pipe.messages import Action, BashResult, CodeResult, Ending, StreamOutput

Fate = Literal["kept", "lost"]

MESSAGE_CHARS: Final = 1_000
"""Characters of an exception's message in the one-line `error`; the traceback has the rest."""

_REPAIR: Final = "Mend it with the bash tool, or delete the session for a fresh sandbox."
_RETURN_OUTSIDE: Final = "'return' outside function"
_RETURN_HINT: Final = " (a cell is not a function: end it with an expression, or print the value)"


class ExecutionInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an answer says of its execution. `duration_ms`: from its start; `note`: words worth reading.

    `variables`, `files`: whether they are still there after this ending. `recreated`: why the sandbox was a new
    one, or a stopped one started again, when the execution started, and what was lost with that.
    """

    id: str
    ending: Ending
    action: Action
    variables: Fate
    files: Fate
    duration_ms: float
    exit_code: int | None = None
    signal: str | None = None
    note: str | None = None
    recreated: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`error` is one line in plain words, None when `successful`."""

    successful: bool
    error: str | None
    info: ExecutionInfo


def judge_code(result: CodeResult, *, execution_id: str, timeout_s: float, recreated: str | None = None) -> Verdict:
    """Say how a cell ended. `timeout_s` is the limit it ran under, in seconds."""
    variables: Fate = "kept" if result.variables_kept else "lost"
    dropped = f"{result.artifacts_dropped} more artifacts were displayed but not saved."
    streams = {"stdout": result.stdout, "stderr": result.stderr, "value": result.value}
    note = _join(result.note, dropped if result.artifacts_dropped else None, *_lost_output(streams))
    info = _info(result, execution_id, variables, note, recreated)
    if result.ending is Ending.COMPLETED:
        return Verdict(True, None, info)
    if result.ending is Ending.ERROR:
        return Verdict(False, _raised(result), info)
    return Verdict(False, f"{_why_code(result, timeout_s)} {_fate(info)}", info)


def judge_bash(result: BashResult, *, execution_id: str, timeout_s: float, recreated: str | None = None) -> Verdict:
    """Say how a command ended. An exit code other than 0 is no failure: the command said it, not we."""
    variables: Fate = "lost" if result.ending is Ending.SANDBOX_GONE else "kept"
    memory = "Out of memory: the kernel of the operating system killed a process of this command."
    streams = {"stdout": result.stdout, "stderr": result.stderr}
    note = _join(result.note, memory if result.out_of_memory else None, *_lost_output(streams))
    info = _info(result, execution_id, variables, note, recreated)
    if result.ending is Ending.COMPLETED:
        return Verdict(True, None, info)
    return Verdict(False, f"{_why_bash(result, timeout_s)} {_fate(info)}", info)


def _info(
    result: CodeResult | BashResult, execution_id: str, variables: Fate, note: str | None, recreated: str | None
) -> ExecutionInfo:
    return ExecutionInfo(
        id=execution_id,
        ending=result.ending,
        action=result.action,
        variables=variables,
        files="kept" if result.files_kept else "lost",
        duration_ms=round(result.duration_ms, 3),
        exit_code=result.exit_code,
        signal=result.signal,
        note=note,
        recreated=recreated,
    )


def _raised(result: CodeResult) -> str:
    """`NameError: name 'x' is not defined`: the exception in one line."""
    if result.error is None:
        return _join("The code failed.", result.note) or "The code failed."
    lines = result.error.message.strip().splitlines()
    message = lines[0][:MESSAGE_CHARS] if lines else ""
    hint = _RETURN_HINT if result.error.name == "SyntaxError" and _RETURN_OUTSIDE in message else ""
    return f"{result.error.name}: {message}{hint}" if message else result.error.name


def _why_code(result: CodeResult, timeout_s: float) -> str:
    if result.ending is Ending.SANDBOX_GONE:
        return _gone(result.note, files_kept=result.files_kept)
    if result.ending is Ending.KERNEL_DIED and result.action is Action.NOT_STARTED:
        why = (result.note or "it did not say why").splitlines()[0].rstrip(".")
        return f"No Python kernel could be started, so no line of the code ran: {why}. {_REPAIR}"
    if result.ending is Ending.KERNEL_DIED:
        return f"The Python kernel died: {_death(result)}. A new one was started."
    if result.action is Action.NOT_STARTED:
        return _never_ran(result.ending, "code")
    cause = _cause(result.ending, timeout_s)
    if result.action is Action.KERNEL_RESTARTED:
        return f"{cause}: the code did not stop when it was interrupted, so the kernel was restarted."
    return f"{cause}: the code was interrupted."


def _why_bash(result: BashResult, timeout_s: float) -> str:
    if result.ending is Ending.SANDBOX_GONE:
        return _gone(result.note, files_kept=result.files_kept)
    if result.action is Action.NOT_STARTED:
        return _never_ran(result.ending, "command")
    if result.ending in {Ending.TIMED_OUT, Ending.INTERRUPTED}:
        done = "was interrupted" if result.action is Action.INTERRUPTED else "and its process group were killed"
        return f"{_cause(result.ending, timeout_s)}: the command {done}."
    return f"The command could not be run: {result.note or 'bash did not start'}."


def _cause(ending: Ending, timeout_s: float) -> str:
    return f"Timed out after {timeout_s:g} s" if ending is Ending.TIMED_OUT else "Interrupted on request"


def _never_ran(ending: Ending, what: str) -> str:
    if ending is Ending.TIMED_OUT:
        return f"Timed out while it waited for earlier executions of this session: no line of the {what} ran."
    return f"Cancelled before it began: no line of the {what} ran."


def _gone(note: str | None, *, files_kept: bool) -> str:
    cause = f" ({note.rstrip('.')})" if note else ""
    again = "it again" if files_kept else "a new one"
    return f"The sandbox disappeared while this ran{cause}. The next call starts {again}."


def _death(result: CodeResult) -> str:
    if result.out_of_memory:
        return "out of memory"
    if result.signal is not None:
        return f"signal {result.signal}"
    if result.exit_code is not None:
        return f"exit code {result.exit_code}"
    return "cause unknown"


def _fate(info: ExecutionInfo) -> str:
    if info.variables == info.files:
        return f"Variables and files are {info.files}."
    return f"Variables are {info.variables}; files are {info.files}."


def _lost_output(streams: dict[str, StreamOutput]) -> list[str]:
    """Say of each stream that was not kept whole how much of it there is."""
    notes = []
    for name, stream in streams.items():
        if stream.lost is not None:
            kept = stream.bytes if stream.kept_bytes is None else stream.kept_bytes
            notes.append(f"{name}: {kept} of {stream.bytes} bytes were kept ({stream.lost.rstrip('.')}).")
    return notes


def _join(*parts: str | None) -> str | None:
    return " ".join(part for part in parts if part) or None
