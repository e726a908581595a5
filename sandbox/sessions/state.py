"""A session's sandbox as a state machine: events in, instructions out. No I/O, no clock.

                  Asked                 Started
        Absent ──────────> Starting ──────────────> Live
          ^  ^                │                       │ Gone
          │  └── StartFailed ─┘                       v
          └────────────────── Removed ─────────── Removing      (Asked meanwhile: Removed leads to Starting)

    CloseAsked leads from every state to Closed, which nothing leaves.

A sandbox that rests (paused, stopped, archived) becomes a state of its own, beside `Live`, that holds what `Live`
holds; `Asked` leads from it to `Starting`, with an instruction that wakes instead of starting, and `lost` says
what the rest cost. Nothing that is here has to change for it: waiters already wait in `Starting`, what was lost
already travels with the state, and `Gone`, `CloseAsked` and `Removed` mean the same for a sandbox at rest.
"""

from dataclasses import dataclass
from typing import TypeAlias

from sandbox.errors import WorkbenchError

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
class Removing:
    """It is gone or unusable and what is left of it is removed. `asked`: somebody waits for a new one."""

    sandbox_id: str
    lost: str
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """There will never be a sandbox again: `why` is for those who ask all the same."""

    why: WorkbenchError


State: TypeAlias = Absent | Starting | Live | Removing | Closed

# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody needs the sandbox."""


@dataclass(frozen=True, slots=True)
class Started:
    """The start succeeded, by a claim from the pool or by a boot."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The start failed; nothing of it is left."""

    error: WorkbenchError


@dataclass(frozen=True, slots=True)
class Gone:
    """A sandbox disappeared or was taken for dead."""

    sandbox_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The removal of a sandbox is over. `cause`: what was found out meanwhile about why it had gone."""

    sandbox_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """The session is deleted, or the controller ends."""

    why: WorkbenchError


Event: TypeAlias = Asked | Started | StartFailed | Gone | Removed | CloseAsked

# --- instructions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Claim or start a sandbox; answer with `Started` or `StartFailed`."""


@dataclass(frozen=True, slots=True)
class AbandonStart:
    """Nobody needs the start that is under way; if it succeeds all the same, say so with `Started`."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Give the sandbox to all that wait. `recreated`: what happened to the one before it, or None."""

    sandbox_id: str
    recreated: str | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Fail all that wait."""

    error: WorkbenchError


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove what is left of a sandbox; answer with `Removed`, also when it could not be done."""

    sandbox_id: str


Instruction: TypeAlias = Start | AbandonStart | Serve | Refuse | Remove

Step: TypeAlias = tuple[State, tuple[Instruction, ...]]


def step(state: State, event: Event) -> Step:
    """Give the next state and what is to be done. Every event is legal in every state."""
    match state:
        case Absent():
            return _absent(state, event)
        case Starting():
            return _starting(state, event)
        case Live():
            return _live(state, event)
        case Removing():
            return _removing(state, event)
        case Closed():
            return _closed(state, event)


def _absent(state: Absent, event: Event) -> Step:
    match event:
        case Asked():
            return Starting(state.lost), (Start(),)
        case Started(sandbox_id):
            return state, (Remove(sandbox_id),)
        case CloseAsked(why):
            return Closed(why), ()
        case StartFailed() | Gone() | Removed():
            return state, ()


def _starting(state: Starting, event: Event) -> Step:
    match event:
        case Started(sandbox_id):
            return Live(sandbox_id), (Serve(sandbox_id, state.lost),)
        case StartFailed(error):
            return Absent(state.lost), (Refuse(error),)
        case CloseAsked(why):
            return Closed(why), (AbandonStart(), Refuse(why))
        case Asked() | Gone() | Removed():
            # The start itself says how it ends: a sandbox that goes meanwhile is its failure.
            return state, ()


def _live(state: Live, event: Event) -> Step:
    match event:
        case Asked():
            return state, (Serve(state.sandbox_id),)
        case Gone(sandbox_id, cause) if sandbox_id == state.sandbox_id:
            return Removing(sandbox_id, cause), (Remove(sandbox_id),)
        case Started(sandbox_id) if sandbox_id != state.sandbox_id:
            return state, (Remove(sandbox_id),)
        case CloseAsked(why):
            return Closed(why), (Remove(state.sandbox_id),)
        case Started() | StartFailed() | Gone() | Removed():
            return state, ()


def _removing(state: Removing, event: Event) -> Step:
    match event:
        case Asked():
            return Removing(state.sandbox_id, state.lost, asked=True), ()
        case Removed(sandbox_id, cause) if sandbox_id == state.sandbox_id:
            return (Starting(cause), (Start(),)) if state.asked else (Absent(cause), ())
        case Started(sandbox_id):
            return state, (Remove(sandbox_id),)
        case CloseAsked(why):
            return Closed(why), (Refuse(why),) if state.asked else ()
        case StartFailed() | Gone() | Removed():
            return state, ()


def _closed(state: Closed, event: Event) -> Step:
    match event:
        case Asked():
            return state, (Refuse(state.why),)
        case Started(sandbox_id):
            return state, (Remove(sandbox_id),)
        case StartFailed() | Gone() | Removed() | CloseAsked():
            return state, ()
