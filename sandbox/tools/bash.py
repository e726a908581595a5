"""COMPOSIO_REMOTE_BASH_TOOL: run a command in a fresh bash of the session's sandbox."""

import msgspec
from msgspec import UNSET, UnsetType

from sandbox.pipe.messages import BashResult, CodeResult, RunBash
from sandbox.sessions.execution import Execution
from sandbox.tools.arguments import read_arguments
from sandbox.tools.base import Asked, Outcome, SessionNote, Tool, ToolResult, log_id_of, session_note
from sandbox.tools.endings import ExecutionInfo, judge_bash
from sandbox.tools.notices import bash_text


class BashArguments(msgspec.Struct, frozen=True):
    """Arguments of all generations of the public contract."""

    command: str
    timeout: int | float | None = None
    session_id: str | None = None


_CAMEL = {"stdout_lines": "stdoutLines", "stderr_lines": "stderrLines"}


class BashData(msgspec.Struct, frozen=True, kw_only=True, rename=_CAMEL):
    """`data` of the answer. The counts are of the whole stream; `exit_code` is null when no shell ended."""

    stdout: str
    stdout_lines: int
    stderr: str
    stderr_lines: int
    stdout_file_path: str | UnsetType = UNSET
    stderr_file_path: str | UnsetType = UNSET
    sandbox_id_suffix: str
    session: SessionNote
    exit_code: int | UnsetType | None = UNSET
    execution: ExecutionInfo | UnsetType = UNSET


class BashTool(Tool):
    """Runs bash."""

    slug = "COMPOSIO_REMOTE_BASH_TOOL"
    arguments_type = BashArguments
    data_type = BashData

    def _read(self, arguments: object) -> Asked:
        given = read_arguments(arguments, BashArguments, self.checks)
        return Asked(given.command, given.session_id, given.timeout)

    def _body(self, source: str) -> RunBash:
        return RunBash(command=source)

    def present(self, execution: Execution, outcome: Outcome) -> ToolResult:
        """Compose the answer. See `Tool.present`."""
        if isinstance(outcome, CodeResult):
            raise TypeError(f"{execution.id} ran Python, not bash")
        verdict = judge_bash(
            outcome,
            execution_id=execution.id,
            timeout_s=execution.timeout_s,
            recreated=execution.recreated,
        )
        return ToolResult(
            data=self._data(execution, outcome, verdict.info),
            error=verdict.error,
            successful=verdict.successful,
            log_id=log_id_of(execution),
        )

    def _data(self, execution: Execution, outcome: BashResult, info: ExecutionInfo) -> BashData:
        return BashData(
            stdout=bash_text(outcome.stdout),
            stdout_lines=outcome.stdout.lines,
            stderr=bash_text(outcome.stderr),
            stderr_lines=outcome.stderr.lines,
            stdout_file_path=outcome.stdout.path or UNSET,
            stderr_file_path=outcome.stderr.path or UNSET,
            sandbox_id_suffix=execution.sandbox_suffix,
            session=session_note(execution),
            exit_code=UNSET if self._strict else outcome.exit_code,
            execution=UNSET if self._strict else info,
        )
