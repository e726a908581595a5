"""One call on its way through the gateway, and the row of the audit that comes of it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, time

import msgspec

from sandbox.errors import UpstreamError
from sandbox.sessions import ids
from sandbox.sessions.call_record import CallRecord
from sandbox.sessions.helper_news import HelperCalled
from sandbox.sessions.helper_port import Progressing, SandboxFiles, TellsOfCalls
from sandbox.sessions.session import Session
from sandbox.upstreams.base import Principal

OK = "ok"
FAILED = "failed"
REFUSED = "refused"
CANCELLED = "cancelled"

_ARGUMENTS_CHARS = 10_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from. `helper`: its name in the audit. `files`: None when it is not out of a sandbox."""

    helper: str
    session: Session
    arguments: msgspec.Raw
    timeout_s: float
    execution_id: str | None = None
    files: SandboxFiles | None = None
    on_progress: Progressing | None = None
    on_called: TellsOfCalls | None = None

    @property
    def from_sandbox(self) -> bool:
        """Whether code in a sandbox makes it, and not the agent."""
        return self.files is not None

    @property
    def principal(self) -> Principal:
        """For whom it is made."""
        return Principal(self.session.id, self.session.owner, self.session.user_id)


@dataclass(slots=True)
class Course:
    """How a call went, as far as it is. `status`: `failed` is an upstream's own answer that says so.

    `undone`: why the last attempt was not done, while the next one is waited for.
    """

    target: str = ""
    status: str = "Internal_Error"
    answer_bytes: int = 0
    attempts: int = 0
    undone: UpstreamError | None = None
    began: float = field(default_factory=monotonic)
    began_at: float = field(default_factory=time)

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return monotonic() - self.began

    def news(self, helper: str, seconds: float) -> HelperCalled:
        """Give what those who follow live hear of it."""
        return HelperCalled(helper, self.target, self.status, seconds * 1000)

    def record(self, origin: Origin, seconds: float, *, with_arguments: bool) -> CallRecord:
        """Make its row."""
        session = origin.session
        return CallRecord(
            ids.helper_call_id(int(self.began_at * 1_000_000)),
            session.id,
            session.owner,
            origin.execution_id,
            origin.helper,
            self.target,
            self.status,
            len(origin.arguments),
            self.answer_bytes,
            self.attempts,
            datetime.fromtimestamp(self.began_at, UTC),
            round(seconds * 1000, 3),
            _shown(origin.arguments) if with_arguments else None,
        )


def _shown(arguments: msgspec.Raw) -> str:
    text = bytes(memoryview(arguments)[: 4 * _ARGUMENTS_CHARS]).decode("utf-8", "replace")
    return text[:_ARGUMENTS_CHARS].replace("\x00", "\N{REPLACEMENT CHARACTER}")
