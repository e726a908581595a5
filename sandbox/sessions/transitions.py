"""A session's sandbox as a state machine: events in, instructions out. No I/O, no clock. `state` draws it."""

from dataclasses import replace
from typing import TypeAlias

from sandbox.sessions.state import (
    AbandonStart,
    Absent,
    Asked,
    CloseAsked,
    Closed,
    Event,
    Expired,
    Found,
    Gone,
    Held,
    Instruction,
    LeaveAsked,
    Live,
    Pause,
    Paused,
    Refuse,
    Remove,
    Removed,
    Removing,
    Rest,
    RestAsked,
    Rested,
    Resume,
    Serve,
    Settling,
    Start,
    StartAgain,
    Started,
    StartFailed,
    Starting,
    State,
    Stop,
    Stopped,
    WakeFailed,
    WakeRefused,
    Waking,
    Woken,
)

Step: TypeAlias = tuple[State, tuple[Instruction, ...]]


def step(state: State, event: Event) -> Step:
    """Give the next state and what is to be done. Every event is legal in every state."""
    if (taken := _wherever(state, event)) is not None:
        return taken
    match state:
        case Absent():
            return _absent(state, event)
        case Starting():
            return _starting(state, event)
        case Removing():
            return _removing(state, event)
        case Closed():
            return _closed(state, event)
        case _:
            return _holding(state, event)


def _wherever(state: State, event: Event) -> Step | None:
    """What does not depend on the state, or little."""
    match event:
        case Started(sandbox_id) if not isinstance(state, Starting) and sandbox_id != _held(state):
            # A start that nobody waits for any more.
            return state, (Remove(sandbox_id),)
        case Found():
            return _found(state, event)
        case LeaveAsked():
            return _leave(state, event)
        case _:
            return None


def _found(state: State, event: Found) -> Step:
    sandbox_id = event.sandbox_id
    match state:
        case Absent():
            return (Stopped(sandbox_id) if event.stopped else Live(sandbox_id)), ()
        case Starting() if event.stopped:
            waking, instructions = _wake(sandbox_id, Rest.STOPPED)
            return waking, (AbandonStart(), *instructions)
        case Starting():
            return Live(sandbox_id), (AbandonStart(), Serve(sandbox_id))
        case _:
            return state, (Remove(sandbox_id),)


def _leave(state: State, event: LeaveAsked) -> Step:
    if not isinstance(state, Held):
        return step(state, CloseAsked(event.why))
    asked = isinstance(state, Waking) or (isinstance(state, Settling) and state.asked)
    return Closed(event.why), ((Refuse(event.why),) if asked else ())


def _holding(state: Held, event: Event) -> Step:
    match state:
        case Live():
            return _live(state, event)
        case Settling():
            return _settling(state, event)
        case Paused() | Stopped():
            return _at_rest(state, event)
        case Waking():
            return _waking(state, event)


def _held(state: State) -> str | None:
    """The sandbox that a state holds; one that is being removed is held no more."""
    return state.sandbox_id if isinstance(state, Held) else None


def _absent(state: Absent, event: Event) -> Step:
    match event:
        case Asked():
            return Starting(state.lost), (Start(),)
        case CloseAsked(why):
            return Closed(why), ()
        case _:
            return state, ()


def _starting(state: Starting, event: Event) -> Step:
    match event:
        case Started(sandbox_id):
            return Live(sandbox_id), (Serve(sandbox_id, state.lost),)
        case StartFailed(error):
            return Absent(state.lost), (Refuse(error),)
        case CloseAsked(why):
            return Closed(why), (AbandonStart(), Refuse(why))
        case _:
            # The start itself says how it ends: a sandbox that goes meanwhile is its failure.
            return state, ()


def _live(state: Live, event: Event) -> Step:
    match event:
        case Asked():
            return state, (Serve(state.sandbox_id),)
        case RestAsked(sandbox_id, rest) if sandbox_id == state.sandbox_id:
            return _settle(sandbox_id, rest)
        case Gone(sandbox_id, ended=True) if sandbox_id == state.sandbox_id:
            return _settle(sandbox_id, Rest.STOPPED)
        case _:
            return _held_otherwise(state, event)


def _settling(state: Settling, event: Event) -> Step:
    match event:
        case Asked():
            return replace(state, asked=True), ()
        case Rested(sandbox_id) if sandbox_id == state.sandbox_id:
            if state.asked:
                return _wake(sandbox_id, state.rest)
            return _resting(sandbox_id, state.rest), ()
        case _:
            return _held_otherwise(state, event, asked=state.asked)


def _at_rest(state: Paused | Stopped, event: Event) -> Step:
    rest = Rest.PAUSED if isinstance(state, Paused) else Rest.STOPPED
    match event:
        case Asked():
            return _wake(state.sandbox_id, rest)
        case RestAsked(sandbox_id, Rest.STOPPED) if sandbox_id == state.sandbox_id and rest is Rest.PAUSED:
            return _settle(sandbox_id, Rest.STOPPED)
        case _:
            return _held_otherwise(state, event)


def _waking(state: Waking, event: Event) -> Step:
    match event:
        case Woken(sandbox_id, restarted) if sandbox_id == state.sandbox_id:
            return Live(sandbox_id), (Serve(sandbox_id, restarted=restarted or state.rest is Rest.STOPPED),)
        case WakeFailed(sandbox_id, cause) if sandbox_id == state.sandbox_id:
            return Removing(sandbox_id, cause, asked=True, known=True), (Remove(sandbox_id),)
        case WakeRefused(sandbox_id, error) if sandbox_id == state.sandbox_id:
            return _resting(sandbox_id, state.rest), (Refuse(error),)
        case _:
            return _held_otherwise(state, event, asked=True)


def _held_otherwise(state: Held, event: Event, *, asked: bool = False) -> Step:
    """What ends the life of a sandbox is the same wherever it stands; all else changes nothing."""
    match event:
        case Gone(sandbox_id, cause) if sandbox_id == state.sandbox_id:
            return Removing(sandbox_id, cause, asked), (Remove(sandbox_id),)
        case Expired(sandbox_id, why) if sandbox_id == state.sandbox_id and not asked:
            return Removing(sandbox_id, why, known=True), (Remove(sandbox_id),)
        case CloseAsked(why):
            return Closed(why), (Remove(state.sandbox_id), *((Refuse(why),) if asked else ()))
        case _:
            return state, ()


def _resting(sandbox_id: str, rest: Rest) -> State:
    return Paused(sandbox_id) if rest is Rest.PAUSED else Stopped(sandbox_id)


def _settle(sandbox_id: str, rest: Rest) -> Step:
    return Settling(sandbox_id, rest), (Pause(sandbox_id) if rest is Rest.PAUSED else Stop(sandbox_id),)


def _wake(sandbox_id: str, rest: Rest) -> Step:
    return Waking(sandbox_id, rest), (Resume(sandbox_id) if rest is Rest.PAUSED else StartAgain(sandbox_id),)


def _removing(state: Removing, event: Event) -> Step:
    match event:
        case Asked():
            return replace(state, asked=True), ()
        case Removed(sandbox_id, found) if sandbox_id == state.sandbox_id:
            cause = state.lost if state.known else found
            return (Starting(cause), (Start(),)) if state.asked else (Absent(cause), ())
        case CloseAsked(why):
            return Closed(why), (Refuse(why),) if state.asked else ()
        case _:
            return state, ()


def _closed(state: Closed, event: Event) -> Step:
    return state, ((Refuse(state.why),) if isinstance(event, Asked) else ())
