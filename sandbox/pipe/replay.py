"""What the answering side has said of each execution, so that it can say it again; bounded, and pure."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sandbox.limits import REPLAY_BYTES, REPLAY_CALL_BYTES
from sandbox.pipe.frames import Call, Survivor
from sandbox.pipe.messages import ExecutionKind, Progress, RunBash, RunCode, Started


@dataclass(slots=True)
class _Told:
    """One execution: what was asked for, when, and the lines of its events, oldest first."""

    kind: ExecutionKind
    timeout_s: float
    queue_timeout_s: float
    asked_at: float
    started_at: float | None = None
    lines: deque[bytes] = field(default_factory=deque)
    size: int = 0

    def drop_oldest(self) -> int:
        dropped = len(self.lines.popleft())
        self.size -= dropped
        return dropped


class Replay:
    """The events of executions whose ending nobody has acknowledged yet.

    Of one execution at most `per_call` bytes are kept, of all together `overall`; the oldest go first. `clock`
    gives seconds.
    """

    def __init__(
        self, clock: Callable[[], float], *, per_call: int = REPLAY_CALL_BYTES, overall: int = REPLAY_BYTES
    ) -> None:
        self._clock = clock
        self._per_call = per_call
        self._overall = overall
        self._told: dict[str, _Told] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return self._size

    def begin(self, call: Call) -> None:
        """Note a call that begins; only executions are kept."""
        match call.body:
            case RunCode():
                kind, queue_timeout_s = ExecutionKind.PYTHON, call.body.queue_timeout_s
            case RunBash():
                kind, queue_timeout_s = ExecutionKind.BASH, 0.0
            case _:
                return
        self._told[call.id] = _Told(kind, call.timeout_s, queue_timeout_s, self._clock())

    def say(self, call_id: str, body: Progress, line: bytes) -> None:
        """Note an event that goes out, as the line it goes out on."""
        told = self._told.get(call_id)
        if told is None:
            return
        if told.started_at is None and isinstance(body, Started):
            told.started_at = self._clock()
        told.lines.append(line)
        told.size += len(line)
        self._size += len(line)
        while told.size > self._per_call and len(told.lines) > 1:
            self._size -= told.drop_oldest()
        self._shrink()

    def lines(self, call_id: str) -> bytes:
        """Give all that is kept of what was said of a call."""
        told = self._told.get(call_id)
        return b"".join(told.lines) if told is not None else b""

    def forget(self, call_id: str) -> None:
        """Nobody will ask for this call again."""
        told = self._told.pop(call_id, None)
        if told is not None:
            self._size -= told.size

    def survivors(self, ended: Iterable[str]) -> tuple[Survivor, ...]:
        """Describe all executions that are known, oldest first; `ended`: ids of calls that have ended."""
        now = self._clock()
        over = set(ended)
        return tuple(
            Survivor(
                call_id,
                told.kind,
                timeout_s=told.timeout_s,
                queue_timeout_s=told.queue_timeout_s,
                age_s=now - told.asked_at,
                running_s=None if told.started_at is None else now - told.started_at,
                ended=call_id in over,
            )
            for call_id, told in self._told.items()
        )

    def _shrink(self) -> None:
        """Keep to the bound over all: what was asked for first loses its events first."""
        for told in self._told.values():
            while self._size > self._overall and told.lines:
                self._size -= told.drop_oldest()
            if self._size <= self._overall:
                return
