"""Which executions run now, so that each helper call belongs to one; and which of them are being ended."""

from collections.abc import Callable
from dataclasses import dataclass

OnStop = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose a helper call is: an execution that runs, or None. `stopped`: it is being ended, and may not call."""

    execution: str | None
    stopped: bool = False


class Callers:
    """Executions from their start to their end. `on_stop` is called with each that is being ended early.

    What calls without saying for whom belongs to the cell that runs. Between a cell that was ended early and the next
    one, it is taken for what that cell has left running.
    """

    def __init__(self) -> None:
        self.on_stop: OnStop = _nothing
        self._running: dict[str, bool] = {}
        self._cell: str | None = None
        self._left_stopped = False
        self._kernel_gone = False

    def begin(self, execution_id: str, *, cell: bool) -> None:
        """It starts. `cell`: it has the kernel from now on."""
        self._running[execution_id] = False
        if cell:
            self._cell = execution_id
            self._left_stopped = False
            self._kernel_gone = False

    def stop(self, execution_id: str) -> None:
        """It is being ended early; may be said again."""
        if self._running.get(execution_id) is not False:
            return
        self._running[execution_id] = True
        self.on_stop(execution_id)

    def end(self, execution_id: str) -> None:
        """It has ended."""
        stopped = self._running.pop(execution_id, False)
        if self._cell == execution_id:
            self._cell = None
            self._left_stopped = stopped and not self._kernel_gone

    def kernel_ended(self) -> None:
        """Nothing of the cell that runs, or of the last one, is left to call."""
        self._left_stopped = False
        self._kernel_gone = True

    def caller(self, named: str | None) -> Caller:
        """Say whose a call is. `named`: the execution it names itself, which may be made up."""
        if named is not None:
            stopped = self._running.get(named)
            return Caller(None) if stopped is None else Caller(named, stopped)
        if self._cell is not None:
            return Caller(self._cell, self._running[self._cell])
        return Caller(None, self._left_stopped)


def _nothing(_execution_id: str) -> None:
    """Nobody calls."""
