"""The states of a session's sandbox, what happens to it, and what is to be done. `transitions` puts them together.

              Asked                 Started
    Absent ──────────> Starting ──────────────> Live
      ^  ^                │                       │ Gone, Expired
      │  └── StartFailed ─┘                       v
      └────────────────── Removed ─────────── Removing      (Asked meanwhile: Removed leads to Starting)

          RestAsked              Rested                      Asked            Woken
    Live ───────────> Settling ──────────> Paused, Stopped ─────────> Waking ───────> Live
                          └── Asked meanwhile: Rested leads to Waking    └── WakeFailed: Removing
                                                                             └── WakeRefused: as before

Paused can be asked to stop. Gone and Expired lead from every state with a sandbox to Removing; only a Live one that
has ended, but is there with its files, is put to rest as Stopped instead.
CloseAsked leads from every state to Closed, which nothing leaves; so does LeaveAsked, without removing anything.
Found leads from Absent and Starting to Live or Stopped: an earlier controller had given the session that sandbox.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from sandbox.errors import WorkbenchError


class Rest(StrEnum):
    """How a sandbox rests: frozen with all that it has in memory, or ended with its files only."""

    PAUSED = "paused"
    STOPPED = "stopped"


# --- states ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no sandbox. `lost`: why the former one went, in words; None when there never was one."""

    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Starting:
    """One is claimed or started; who asks now waits for it."""

    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """It can be used."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Settling:
    """It is put to rest. `asked`: somebody waits for it, so it is woken as soon as it rests."""

    sandbox_id: str
    rest: Rest
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Paused:
    """It is frozen; nothing is lost by that."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing runs in it; its files are kept, variables and background jobs are lost."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Waking:
    """It is woken from `rest`; who asks now waits for it."""

    sandbox_id: str
    rest: Rest


@dataclass(frozen=True, slots=True)
class Removing:
    """It is gone or unusable and what is left of it is removed. `asked`: somebody waits for a new one.

    `known`: `lost` is the last word on why; otherwise the removal finds it out.
    """

    sandbox_id: str
    lost: str
    asked: bool = False
    known: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """There will never be a sandbox again: `why` is for those who ask all the same."""

    why: WorkbenchError


Held: TypeAlias = Live | Settling | Paused | Stopped | Waking
"""States with a sandbox that is to be kept."""

State: TypeAlias = Absent | Starting | Held | Removing | Closed

# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody needs the sandbox."""


@dataclass(frozen=True, slots=True)
class Started:
    """The start succeeded, by a claim from the pool or by a boot."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """A sandbox that an earlier controller gave to the session was found, running or `stopped`."""

    sandbox_id: str
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The start failed; nothing of it is left."""

    error: WorkbenchError


@dataclass(frozen=True, slots=True)
class Gone:
    """A sandbox disappeared or was taken for dead. `ended`: it is there, but ended; its files can be had again."""

    sandbox_id: str
    cause: str
    ended: bool = False


@dataclass(frozen=True, slots=True)
class RestAsked:
    """A sandbox was idle for so long that it is to rest."""

    sandbox_id: str
    rest: Rest


@dataclass(frozen=True, slots=True)
class Rested:
    """Putting a sandbox to rest is over. Where that failed, waking sorts it out."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Woken:
    """A sandbox can be used again. `restarted`: it was frozen, but had to be started again on its files."""

    sandbox_id: str
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class WakeFailed:
    """A sandbox at rest could not be woken; it is of no more use."""

    sandbox_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class WakeRefused:
    """A sandbox at rest could not be woken now, but may be later: it stays as it was."""

    sandbox_id: str
    error: WorkbenchError


@dataclass(frozen=True, slots=True)
class Expired:
    """A sandbox was idle for so long that it is to be removed. `why`: that, in words."""

    sandbox_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The removal of a sandbox is over. `cause`: what was found out meanwhile about why it had gone."""

    sandbox_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """The session is deleted, or the controller ends."""

    why: WorkbenchError


@dataclass(frozen=True, slots=True)
class LeaveAsked:
    """The controller ends, and leaves what it has to the next one."""

    why: WorkbenchError


Event: TypeAlias = (
    Asked
    | Started
    | StartFailed
    | Gone
    | RestAsked
    | Rested
    | Woken
    | WakeFailed
    | WakeRefused
    | Expired
    | Removed
    | CloseAsked
    | LeaveAsked
    | Found
)

# --- instructions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Claim or start a sandbox; answer with `Started` or `StartFailed`."""


@dataclass(frozen=True, slots=True)
class AbandonStart:
    """Nobody needs the start that is under way; if it succeeds all the same, say so with `Started`."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Give the sandbox to all that wait.

    `recreated`: what happened to the one before it, or None. `restarted`: it was stopped and started again.
    """

    sandbox_id: str
    recreated: str | None = None
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Fail all that wait."""

    error: WorkbenchError


@dataclass(frozen=True, slots=True)
class Pause:
    """Freeze a sandbox; answer with `Rested`, also when it could not be done."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End what runs in a sandbox and keep its files; answer as to `Pause`."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a frozen sandbox go on; answer with `Woken`, `WakeFailed` or `WakeRefused`."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Start a stopped sandbox on its files; answer as to `Resume`."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove what is left of a sandbox; answer with `Removed`, also when it could not be done."""

    sandbox_id: str


Turn: TypeAlias = Pause | Stop | Resume | StartAgain
"""What puts a sandbox to rest or wakes it."""

Instruction: TypeAlias = Start | AbandonStart | Serve | Refuse | Turn | Remove
