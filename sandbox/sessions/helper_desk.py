"""Which session the helper calls of a sandbox belong to, and who answers them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from sandbox.sessions.execution import Execution, ExecutionState
from sandbox.sessions.executions import Executions
from sandbox.sessions.helper_calls import Bound
from sandbox.sessions.helper_port import AnswersHelpers
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.session import Session

Used = Callable[[], AbstractContextManager[None]]


class HelperDesk:
    """Binds sandboxes to their sessions. `answers`: the gateway; None: every call is refused."""

    def __init__(self, answers: AnswersHelpers | None, executions: Executions) -> None:
        self._answers = answers
        self._executions = executions

    def serve(self, session: Callable[[], Session], sandbox: LiveSandbox, used: Used) -> None:
        """Take the calls of a session's sandbox from now on. `used` keeps it from its rest meanwhile.

        `session` gives the session as it is at each call: its configuration changes while the sandbox lives.
        """
        sandbox.helpers.bind(Bound(session, self._answers, partial(self._running, session()), used))

    def _running(self, session: Session, execution_id: str) -> Execution | None:
        execution = self._executions.recent(session.owner, execution_id)
        if execution is None or execution.session_id != session.id or execution.state is ExecutionState.ENDED:
            return None
        return execution
