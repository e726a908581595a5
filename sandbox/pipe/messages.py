"""What controller and agent say to each other, as the frames carry it. Imports nothing of ours.

Methods are the bodies of calls; each method has one result type; progress types are the bodies of events. All are
tagged unions, as the frames in `frames` are, so one decoder reads any line.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="t"):
    """Base of all messages: immutable, defaults left out on the wire, the tag in `t`."""


# --- words shared by several messages -----------------------------------------------------------


class Ending(StrEnum):
    """How an execution ended: exactly one of these."""

    COMPLETED = "completed"
    ERROR = "error"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    KERNEL_DIED = "kernel_died"
    SANDBOX_GONE = "sandbox_gone"


class Action(StrEnum):
    """What was done to end an execution that did not end by itself."""

    NONE = "none"
    INTERRUPTED = "interrupted"
    KERNEL_RESTARTED = "kernel_restarted"
    PROCESS_GROUP_KILLED = "process_group_killed"
    NOT_STARTED = "not_started"
    """Its deadline or its cancellation came while it waited in the queue; no line of it ran."""


class StreamName(StrEnum):
    """Which stream a piece of live output belongs to. `value` is the last expression or displayed text."""

    STDOUT = "stdout"
    STDERR = "stderr"
    VALUE = "value"


class ExecutionKind(StrEnum):
    """What an execution runs."""

    PYTHON = "python"
    BASH = "bash"


class KernelState(StrEnum):
    """Where the kernel is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DEAD = "dead"


class StreamOutput(Message, frozen=True, tag=False):
    """One stream of an execution: its first characters, and where the whole of it is.

    `text`: at most INLINE_CHARS characters, undecodable bytes replaced. `bytes`, `lines`: exact counts of the
    whole stream. `path`: absolute path of the spill file in the sandbox, or None when `text` is all of it.
    `kept_bytes`: how much of the stream the spill holds (None: all of it); `lost` says why it is not all.
    """

    text: str = ""
    bytes: int = 0
    lines: int = 0
    path: str | None = None
    kept_bytes: int | None = None
    lost: str | None = None


class Artifact(Message, frozen=True, tag=False):
    """A displayed image or rich result that was saved: MIME type, absolute path in the sandbox, bytes."""

    type: str
    path: str
    size: int


class CodeError(Message, frozen=True, tag=False):
    """An exception that ended a cell. `traceback` has no colour codes and is bounded."""

    name: str
    message: str
    traceback: str


# --- methods: the bodies of calls, controller to agent ------------------------------------------


class RunCode(Message, frozen=True, tag="run_code"):
    """Run Python in the kernel, after what was asked before.

    `code_path`: a file written before with the code, for code too long for a line; it is deleted when read.
    The call's `timeout_s` counts from the start of the cell; `queue_timeout_s` bounds the wait before it.
    """

    code: str = ""
    code_path: str | None = None
    queue_timeout_s: float = 900.0


class RunBash(Message, frozen=True, tag="run_bash"):
    """Run a command in a fresh bash. `command_path`: as `RunCode.code_path`."""

    command: str = ""
    command_path: str | None = None


class WaitReady(Message, frozen=True, tag="wait_ready"):
    """End when the kernel can take an execution."""


class GetStatus(Message, frozen=True, tag="get_status"):
    """Say how the sandbox is. Also the health check."""


class RestartKernel(Message, frozen=True, tag="restart_kernel"):
    """Kill the kernel and start a new one; what runs ends as `interrupted`, variables lost."""


class ReadFile(Message, frozen=True, tag="read_file"):
    """Send a file's bytes as chunks. `path` is absolute; `length` None reads to the end.

    `inside`: a folder that the file has to be in once links are followed, else fault `outside`. `file_id`: the file
    that is meant, as `FileInfo` named it, else fault `changed`: another one took its place; 0: whichever is there.
    """

    path: str
    offset: int = 0
    length: int | None = None
    inside: str | None = None
    file_id: int = 0


class WriteFile(Message, frozen=True, tag="write_file"):
    """Write the chunks that follow to a file, parents made; whole or not at all unless `append`.

    `inside`: as of `ReadFile`, for the folder that the file is put in.
    """

    path: str
    append: bool = False
    inside: str | None = None


class ListFiles(Message, frozen=True, tag="list_files"):
    """List regular files below a folder, sorted by relative path, after `after`, at most `limit`."""

    path: str
    prefix: str = ""
    after: str = ""
    limit: int = 1000


class DeleteFile(Message, frozen=True, tag="delete_file"):
    """Delete one file, or a folder with all that is in it. Ends with fault `not_found` if there is none.

    `inside`: as of `WriteFile`.
    """

    path: str
    inside: str | None = None


Method: TypeAlias = (
    RunCode | RunBash | WaitReady | GetStatus | RestartKernel | ReadFile | WriteFile | ListFiles | DeleteFile
)


# --- results: how calls end well ------------------------------------------------------------------


class CodeResult(Message, frozen=True, tag="code_result"):
    """How a cell ended and what it said.

    `value` is the text of displayed objects and of the last expression. `results_path`: a file with the whole
    notebook view (stdout, then value) when that is over INLINE_CHARS. `variables_kept`: the kernel is still the
    same. `exit_code`, `signal`, `out_of_memory`: about a kernel that died. `note`: words a person should read,
    such as that output arrived from an earlier background thread.
    """

    ending: Ending
    action: Action = Action.NONE
    variables_kept: bool = True
    files_kept: bool = True
    exit_code: int | None = None
    signal: str | None = None
    out_of_memory: bool = False
    stdout: StreamOutput = StreamOutput()
    stderr: StreamOutput = StreamOutput()
    value: StreamOutput = StreamOutput()
    results_path: str | None = None
    error: CodeError | None = None
    artifacts: tuple[Artifact, ...] = ()
    artifacts_dropped: int = 0
    execution_count: int | None = None
    duration_ms: float = 0.0
    note: str | None = None


class BashResult(Message, frozen=True, tag="bash_result"):
    """How a command ended. `exit_code` as a shell shows it: 128 + signal number when a signal ended it.

    `files_kept`: false only where the sandbox is gone with its files.
    """

    ending: Ending
    action: Action = Action.NONE
    exit_code: int | None = None
    signal: str | None = None
    out_of_memory: bool = False
    stdout: StreamOutput = StreamOutput()
    stderr: StreamOutput = StreamOutput()
    duration_ms: float = 0.0
    note: str | None = None
    files_kept: bool = True


class Status(Message, frozen=True, tag="status"):
    """How the sandbox is: kernel, what runs, what waits, background jobs of bash, memory of the sandbox.

    `open_files`: descriptors that the agent itself holds.
    """

    kernel: KernelState
    kernel_pid: int | None = None
    running: int = 0
    queued: int = 0
    bash_running: int = 0
    background_jobs: int = 0
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpus: float | None = None
    python: str = ""
    home: str = ""
    files: str = ""
    open_files: int = 0


class FileInfo(Message, frozen=True, tag="file_info"):
    """A file: path (absolute, or relative to the listed folder), bytes, modification time (epoch seconds).

    `file_id`: another for the file that takes its place; 0: not said.
    """

    path: str
    size: int
    modified: float
    file_id: int = 0


class FileList(Message, frozen=True, tag="file_list"):
    """One page of a listing. `next_after` is None at the end."""

    files: tuple[FileInfo, ...]
    next_after: str | None = None


class Done(Message, frozen=True, tag="done"):
    """It is done; there is nothing to say."""


Result: TypeAlias = CodeResult | BashResult | Status | FileInfo | FileList | Done


class Fault(Message, frozen=True, tag=False):
    """How a call ends badly: a short name (`not_found`, `invalid`, `busy`, `internal`, ...) and words."""

    name: str
    message: str


# --- progress: the bodies of events ---------------------------------------------------------------


class Started(Message, frozen=True, tag="started"):
    """The execution left the queue and runs. `waited_ms`: how long it stood there, behind others or for a kernel."""

    waited_ms: float = 0.0


class LiveOutput(Message, frozen=True, tag="output"):
    """A piece of output as it comes."""

    stream: StreamName
    text: str


class LiveCut(Message, frozen=True, tag="output_cut"):
    """No more live output of this execution is sent (LIVE_CHARS); the answer and the spill go on."""


class LiveArtifact(Message, frozen=True, tag="artifact"):
    """An artifact was saved or replaced."""

    artifact: Artifact


class LiveAction(Message, frozen=True, tag="action"):
    """The execution is being ended: what is done to it, and why (`timed_out` or `interrupted`)."""

    action: Action
    why: Ending


Progress: TypeAlias = Started | LiveOutput | LiveCut | LiveArtifact | LiveAction
