"""The frames of the protocol between controller and agent: one typed message a line, JSON."""

from typing import Final, TypeAlias

import msgspec

from sandbox.pipe.messages import ExecutionKind, Fault, Message, Method, Progress, Result

PROTOCOL_VERSION: Final = 3


class Sync(Message, frozen=True, tag="sync"):
    """Controller to agent, after a newline, on every attach. The agent answers with `Synced`."""

    nonce: str
    version: int = PROTOCOL_VERSION


class Survivor(Message, frozen=True, tag=False):
    """An execution that an earlier controller asked for, and that runs, waits, or has ended unacknowledged.

    `timeout_s`, `queue_timeout_s`: as its call had them. `age_s`: seconds since it was asked for; `running_s`:
    since it started, None while it waits in the queue.
    """

    id: str
    kind: ExecutionKind
    timeout_s: float
    queue_timeout_s: float = 0.0
    age_s: float = 0.0
    running_s: float | None = None
    ended: bool = False


class Synced(Message, frozen=True, tag="synced"):
    """The agent's echo of `nonce`: hello. `boot` names this agent process; `survivors` wait to be joined."""

    nonce: str
    version: int
    boot: str
    survivors: tuple[Survivor, ...] = ()


class Call(Message, frozen=True, tag="call"):
    """Ask for `body`; it must end within `timeout_s`. The same id twice is never run twice."""

    id: str
    body: Method
    timeout_s: float
    live: bool = False


class Join(Message, frozen=True, tag="join"):
    """Say the events and the ending of a call (again), as far as they are kept; what comes later follows."""

    id: str


class Joined(Message, frozen=True, tag="joined"):
    """The answer to `Join`, before all that is said again: what came earlier comes once more."""

    id: str


class Cancel(Message, frozen=True, tag="cancel"):
    """End the call early; it still gets its `End`."""

    id: str


class Event(Message, frozen=True, tag="event"):
    """Progress of a call. `seq` counts from 1 within the call."""

    id: str
    seq: int
    body: Progress


class End(Message, frozen=True, tag="end"):
    """The one ending of a call: `result` or `fault`. Kept, and said again to who joins, until it is acknowledged."""

    id: str
    result: Result | None = None
    fault: Fault | None = None


class Ack(Message, frozen=True, tag="ack"):
    """The ending of `id` has arrived and may be forgotten."""

    id: str


class Chunk(Message, frozen=True, tag="chunk"):
    """Bulk data of a call, in either direction. `seq` counts from 1; `last` closes the data."""

    id: str
    seq: int
    data: bytes
    last: bool = False


class Credit(Message, frozen=True, tag="credit"):
    """Chunks of `id` up to `seq` are consumed: the sender may be CHUNK_WINDOW ahead of it."""

    id: str
    seq: int


class HelperCall(Message, frozen=True, tag="helper_call"):
    """Agent to controller: code in the sandbox calls a helper, by name, with a JSON object.

    `arguments_path`: a file in the sandbox that holds the object, when it is too long for a line. `answer_path`: where
    an answer that is too long for a line is to be written. `execution`: the one that calls, as far as the agent knows;
    None for what is left of an ended one. `timeout_s`: how long the helper waits. `again`: it was said before, over a
    pipe that was cut since: it must not be done a second time.
    """

    id: str
    helper: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    arguments_path: str | None = None
    answer_path: str | None = None
    execution: str | None = None
    timeout_s: float | None = None
    again: bool = False


class HelperCancel(Message, frozen=True, tag="helper_cancel"):
    """Agent to controller: nobody waits for this helper call any more; it still gets its `HelperEnd`."""

    id: str


class HelperProgress(Message, frozen=True, tag="helper_progress"):
    """Controller to agent: how far a helper call is, in bytes; `total` None when that is not known."""

    id: str
    done: int
    total: int | None = None


class HelperEnd(Message, frozen=True, tag="helper_end"):
    """Controller to agent: the one ending of a helper call: a JSON value in `result` or in the file at `path`.

    `error`: words, empty when all is well; there can be a result beside it.
    """

    id: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    path: str | None = None
    error: str = ""


Frame: TypeAlias = (
    Sync
    | Synced
    | Call
    | Join
    | Joined
    | Cancel
    | Event
    | End
    | Ack
    | Chunk
    | Credit
    | HelperCall
    | HelperCancel
    | HelperProgress
    | HelperEnd
)
