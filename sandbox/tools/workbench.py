"""COMPOSIO_REMOTE_WORKBENCH: run Python in the session's kernel."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sandbox.pipe.messages import Artifact, BashResult, CodeResult, Ending, RunCode
from sandbox.sessions.execution import Execution
from sandbox.tools.arguments import read_arguments
from sandbox.tools.base import Asked, Outcome, SessionNote, Tool, ToolResult, log_id_of, session_note
from sandbox.tools.endings import ExecutionInfo, Verdict, judge_code
from sandbox.tools.notices import notebook_text, workbench_text


class WorkbenchArguments(msgspec.Struct, frozen=True):
    """Arguments of all generations of the public contract; those that only describe intent change nothing."""

    code_to_execute: str
    timeout: int | float | None = None
    session_id: str | None = None
    thought: str | None = None
    thought_process: str | None = None
    file_path: str | None = None
    current_step: str | None = None
    current_step_metric: str | dict[str, Any] | None = None
    next_step: str | None = None


class WorkbenchData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer. The file paths are there only when the stream was cut."""

    results: str
    stdout: str
    stderr: str
    error: str
    results_file_path: str | UnsetType = UNSET
    stdout_file_path: str | UnsetType = UNSET
    stderr_file_path: str | UnsetType = UNSET
    sandbox_id_suffix: str
    session: SessionNote
    artifacts: tuple[Artifact, ...] | UnsetType = UNSET
    execution: ExecutionInfo | UnsetType = UNSET


class WorkbenchTool(Tool):
    """Runs Python."""

    slug = "COMPOSIO_REMOTE_WORKBENCH"
    arguments_type = WorkbenchArguments
    data_type = WorkbenchData

    def _read(self, arguments: object) -> Asked:
        given = read_arguments(arguments, WorkbenchArguments, self.checks)
        return Asked(given.code_to_execute, given.session_id, given.timeout)

    def _body(self, source: str) -> RunCode:
        return RunCode(code=source, queue_timeout_s=self._limits.queue_s)

    def present(self, execution: Execution, outcome: Outcome) -> ToolResult:
        """Compose the answer. See `Tool.present`."""
        if isinstance(outcome, BashResult):
            raise TypeError(f"{execution.id} ran bash, not Python")
        verdict = judge_code(
            outcome,
            execution_id=execution.id,
            timeout_s=execution.timeout_s,
            recreated=execution.recreated,
        )
        return ToolResult(
            data=self._data(execution, outcome, verdict),
            error=verdict.error,
            successful=verdict.successful,
            log_id=log_id_of(execution),
        )

    def _data(self, execution: Execution, outcome: CodeResult, verdict: Verdict) -> WorkbenchData:
        return WorkbenchData(
            results=notebook_text(outcome.stdout, outcome.value, outcome.results_path),
            stdout=workbench_text(outcome.stdout),
            stderr=workbench_text(outcome.stderr),
            error=_error_text(outcome, verdict),
            results_file_path=outcome.results_path or UNSET,
            stdout_file_path=outcome.stdout.path or UNSET,
            stderr_file_path=outcome.stderr.path or UNSET,
            sandbox_id_suffix=execution.sandbox_suffix,
            session=session_note(execution),
            artifacts=UNSET if self._strict else outcome.artifacts,
            execution=UNSET if self._strict else verdict.info,
        )


def _error_text(outcome: CodeResult, verdict: Verdict) -> str:
    """The traceback of what was raised; for other bad endings first the sentence that says what happened."""
    traceback = outcome.error.traceback if outcome.error else ""
    if outcome.ending is Ending.ERROR:
        return traceback or verdict.error or ""
    return "\n\n".join(part for part in (verdict.error, traceback) if part)
