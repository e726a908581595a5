"""Rest and waking of a session's sandbox, as tables."""

import itertools

import pytest

from sandbox.errors import EngineUnavailable, NotFound
from sandbox.sessions.state import (
    Absent,
    Asked,
    CloseAsked,
    Closed,
    Event,
    Expired,
    Gone,
    Instruction,
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
    Starting,
    State,
    Stop,
    Stopped,
    WakeFailed,
    WakeRefused,
    Waking,
    Woken,
)
from sandbox.sessions.transitions import step

DELETED = NotFound("the session was deleted")
AWAY = EngineUnavailable("no answer")
PAUSE = RestAsked("a", Rest.PAUSED)
STOP = RestAsked("a", Rest.STOPPED)


def play(state: State, *events: Event) -> tuple[State, list[Instruction]]:
    done: list[Instruction] = []
    for event in events:
        state, instructions = step(state, event)
        done += instructions
    return state, done


TABLE: dict[str, tuple[State, tuple[Event, ...], State, list[Instruction]]] = {
    "an idle one is paused": (Live("a"), (PAUSE, Rested("a")), Paused("a"), [Pause("a")]),
    "an idle one is stopped": (Live("a"), (STOP, Rested("a")), Stopped("a"), [Stop("a")]),
    "a paused one is stopped": (Paused("a"), (STOP, Rested("a")), Stopped("a"), [Stop("a")]),
    "a paused one is not paused again": (Paused("a"), (PAUSE,), Paused("a"), []),
    "a stopped one is at its rest": (Stopped("a"), (PAUSE, STOP), Stopped("a"), []),
    "fifty ask, a paused one is resumed once": (
        Paused("a"),
        (*(Asked(),) * 50, Woken("a")),
        Live("a"),
        [Resume("a"), Serve("a")],
    ),
    "fifty ask, a stopped one is started once and they hear of it": (
        Stopped("a"),
        (*(Asked(),) * 50, Woken("a"), Asked()),
        Live("a"),
        [StartAgain("a"), Serve("a", restarted=True), Serve("a")],
    ),
    "asked while it is paused it is resumed as soon as it rests": (
        Live("a"),
        (PAUSE, Asked(), Rested("a"), Woken("a")),
        Live("a"),
        [Pause("a"), Resume("a"), Serve("a")],
    ),
    "asked while it is stopped it is started as soon as it rests": (
        Paused("a"),
        (STOP, Asked(), Asked(), Rested("a"), Woken("a")),
        Live("a"),
        [Stop("a"), StartAgain("a"), Serve("a", restarted=True)],
    ),
    "one that cannot be woken is replaced and they hear why": (
        Paused("a"),
        (Asked(), WakeFailed("a", "no such container"), Removed("a", "it was stopped"), Started("b")),
        Live("b"),
        [Resume("a"), Remove("a"), Start(), Serve("b", "no such container")],
    ),
    "an engine that is away costs nothing but the request": (
        Stopped("a"),
        (Asked(), WakeRefused("a", AWAY), Asked()),
        Waking("a", Rest.STOPPED),
        [StartAgain("a"), Refuse(AWAY), StartAgain("a")],
    ),
    "one that goes while it is paused is replaced": (
        Live("a"),
        (PAUSE, Asked(), Gone("a", "broke"), Rested("a"), Removed("a", "exit code 1")),
        Starting("exit code 1"),
        [Pause("a"), Remove("a"), Start()],
    ),
    "one that goes while it is resumed is replaced": (
        Paused("a"),
        (Asked(), Gone("a", "broke"), Woken("a"), Removed("a", "exit code 1")),
        Starting("exit code 1"),
        [Resume("a"), Remove("a"), Start()],
    ),
    "one that goes at rest is removed, and the next one hears of it": (
        Paused("a"),
        (Gone("a", "broke"), Removed("a", "exit code 1"), Asked(), Started("b")),
        Live("b"),
        [Remove("a"), Start(), Serve("b", "exit code 1")],
    ),
    "one that has ended but is there is stopped, and started again for who asks": (
        Live("a"),
        (Gone("a", "exit code 1", ended=True), Asked(), Rested("a"), Woken("a")),
        Live("a"),
        [Stop("a"), StartAgain("a"), Serve("a", restarted=True)],
    ),
    "one that has ended but is there is kept for who asks later": (
        Live("a"),
        (Gone("a", "exit code 1", ended=True), Rested("a")),
        Stopped("a"),
        [Stop("a")],
    ),
    "a paused one that had to be started again is told": (
        Paused("a"),
        (Asked(), Woken("a", restarted=True)),
        Live("a"),
        [Resume("a"), Serve("a", restarted=True)],
    ),
    "one that ends on its way is replaced": (
        Paused("a"),
        (Asked(), Gone("a", "broke", ended=True), Woken("a"), Removed("a", "exit code 1")),
        Starting("exit code 1"),
        [Resume("a"), Remove("a"), Start()],
    ),
    "an expired one is removed, whatever the removal finds": (
        Stopped("a"),
        (Expired("a", "idle for a day"), Removed("a", "it was stopped")),
        Absent("idle for a day"),
        [Remove("a")],
    ),
    "one that is asked for does not expire": (
        Stopped("a"),
        (Asked(), Expired("a", "idle for a day")),
        Waking("a", Rest.STOPPED),
        [StartAgain("a")],
    ),
    "another sandbox's rest is not this one's": (
        Settling("b", Rest.PAUSED),
        (Rested("a"), Woken("a"), PAUSE),
        Settling("b", Rest.PAUSED),
        [],
    ),
    "rest is asked of the sandbox that there is": (Live("b"), (PAUSE, STOP, Expired("a", "x")), Live("b"), []),
    "deleted at rest removes": (Paused("a"), (CloseAsked(DELETED),), Closed(DELETED), [Remove("a")]),
    "deleted while it is put to rest removes": (
        Live("a"),
        (STOP, CloseAsked(DELETED), Rested("a")),
        Closed(DELETED),
        [Stop("a"), Remove("a")],
    ),
    "deleted while it wakes removes and fails those who wait": (
        Stopped("a"),
        (Asked(), CloseAsked(DELETED), Woken("a")),
        Closed(DELETED),
        [StartAgain("a"), Remove("a"), Refuse(DELETED)],
    ),
    "a late start beside one at rest is removed": (Paused("a"), (Started("b"),), Paused("a"), [Remove("b")]),
}


@pytest.mark.parametrize("case", TABLE)
def test_race(case: str) -> None:
    state, events, expected, instructions = TABLE[case]
    assert play(state, *events) == (expected, instructions)


EVENTS: tuple[Event, ...] = (
    Asked(),
    PAUSE,
    STOP,
    Rested("a"),
    Woken("a"),
    WakeFailed("a", "x"),
    WakeRefused("a", AWAY),
    Gone("a", "x"),
    Gone("a", "x", ended=True),
    Expired("a", "x"),
    Removed("a", "x"),
)


@pytest.mark.parametrize("begin", [Live("a"), Paused("a"), Stopped("a")], ids=repr)
def test_in_every_order_of_five_events_whoever_asked_is_served_refused_or_still_awaited(begin: State) -> None:
    for order in itertools.permutations(EVENTS, 5):
        waiting = False
        state = begin
        for event in order:
            waiting = waiting or isinstance(event, Asked)
            state, done_now = step(state, event)
            waiting = waiting and not any(isinstance(item, Serve | Refuse) for item in done_now)
        awaited = isinstance(state, Starting | Waking) or (isinstance(state, Removing | Settling) and state.asked)
        assert waiting == awaited, order


@pytest.mark.parametrize("begin", [Live("a"), Paused("a"), Stopped("a")], ids=repr)
def test_in_every_order_of_five_events_a_sandbox_is_removed_once_or_kept(begin: State) -> None:
    for order in itertools.permutations(EVENTS, 5):
        state, done = play(begin, *order)
        removals = done.count(Remove("a"))
        assert removals == (
            0 if getattr(state, "sandbox_id", None) == "a" and not isinstance(state, Removing) else 1
        ), order
