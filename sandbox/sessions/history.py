"""Recent executions in memory, so that they can be asked for again; bounded in number and in characters."""

from collections import OrderedDict

from sandbox.sessions.execution import Execution, ExecutionState


class History:
    """Running executions, all of them, and the last ended ones; the oldest are dropped first."""

    def __init__(self, *, per_session: int, overall: int, chars: int) -> None:
        self._per_session = per_session
        self._overall = overall
        self._chars_max = chars
        self._chars = 0
        self._running: dict[str, Execution] = {}
        self._ended: OrderedDict[str, tuple[Execution, int]] = OrderedDict()
        self._sessions: dict[str, dict[str, Execution]] = {}

    @property
    def running(self) -> list[Execution]:
        """All executions that have not ended."""
        return list(self._running.values())

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._running or execution_id in self._ended

    def begin(self, execution: Execution) -> None:
        """Take a new execution."""
        self._running[execution.id] = execution
        self._sessions.setdefault(execution.session_id, {})[execution.id] = execution

    def ended(self, execution: Execution) -> None:
        """Note that it has ended; from now on it may be dropped."""
        if self._running.pop(execution.id, None) is None:
            return
        chars = execution.chars
        self._ended[execution.id] = (execution, chars)
        self._chars += chars
        siblings = self._sessions[execution.session_id]
        if len(siblings) > self._per_session:
            oldest = next((other for other in siblings.values() if other.state is ExecutionState.ENDED), execution)
            self._drop(oldest.id)
        while self._ended and (len(self._ended) > self._overall or self._chars > self._chars_max):
            self._drop(next(iter(self._ended)))

    def find(self, owner: str, execution_id: str) -> Execution | None:
        """Give one by its id; None when it is unknown, dropped, or of another owner."""
        execution = self._running.get(execution_id)
        if execution is None and execution_id in self._ended:
            execution = self._ended[execution_id][0]
        return execution if execution is not None and execution.owner == owner else None

    def of_session(self, session_id: str) -> list[Execution]:
        """Give a session's executions, newest first."""
        return list(reversed(self._sessions.get(session_id, {}).values()))

    def running_in(self, session_id: str) -> list[Execution]:
        """Give a session's executions that have not ended."""
        return [
            execution
            for execution in self._sessions.get(session_id, {}).values()
            if execution.state is not ExecutionState.ENDED
        ]

    def forget_session(self, session_id: str) -> None:
        """Drop the ended executions of a session; running ones are dropped by their bounds later."""
        for execution in self.of_session(session_id):
            if execution.id in self._ended:
                self._drop(execution.id)

    def _drop(self, execution_id: str) -> None:
        execution, chars = self._ended.pop(execution_id)
        self._chars -= chars
        siblings = self._sessions[execution.session_id]
        del siblings[execution_id]
        if not siblings:
            del self._sessions[execution.session_id]
