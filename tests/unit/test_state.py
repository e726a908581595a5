"""The races of a session's sandbox, as tables."""

import itertools

import pytest

from sandbox.errors import NotFound, SandboxStartFailed
from sandbox.sessions.state import (
    AbandonStart,
    Absent,
    Asked,
    CloseAsked,
    Closed,
    Event,
    Found,
    Gone,
    Instruction,
    LeaveAsked,
    Live,
    Paused,
    Refuse,
    Remove,
    Removed,
    Removing,
    Rest,
    Resume,
    Serve,
    Start,
    StartAgain,
    Started,
    StartFailed,
    Starting,
    State,
    Stopped,
    Waking,
    Woken,
)
from sandbox.sessions.transitions import step

DELETED = NotFound("the session was deleted")
FAILED = SandboxStartFailed("no hello")


def play(state: State, *events: Event) -> tuple[State, list[Instruction]]:
    done: list[Instruction] = []
    for event in events:
        state, instructions = step(state, event)
        done += instructions
    return state, done


TABLE: dict[str, tuple[State, tuple[Event, ...], State, list[Instruction]]] = {
    "the first one to ask starts a sandbox": (Absent(), (Asked(),), Starting(), [Start()]),
    "fifty ask, one start": (Absent(), (Asked(),) * 50, Starting(), [Start()]),
    "all that wait are served at once": (Starting(), (Started("a"),), Live("a"), [Serve("a")]),
    "who asks later is served at once": (Live("a"), (Asked(), Asked()), Live("a"), [Serve("a")] * 2),
    "a failed start fails the waiters and the next one starts again": (
        Starting(),
        (StartFailed(FAILED), Asked()),
        Starting(),
        [Refuse(FAILED), Start()],
    ),
    "a sandbox that goes is removed before anything else": (
        Live("a"),
        (Gone("a", "exit code 1"),),
        Removing("a", "exit code 1"),
        [Remove("a")],
    ),
    "the next one gets a new sandbox and hears why": (
        Live("a"),
        (Gone("a", "broke"), Removed("a", "exit code 1"), Asked(), Started("b"), Asked()),
        Live("b"),
        [Remove("a"), Start(), Serve("b", "exit code 1"), Serve("b")],
    ),
    "asked while removing starts a new one after the removal": (
        Live("a"),
        (Gone("a", "broke"), Asked(), Asked(), Removed("a", "exit code 1"), Started("b")),
        Live("b"),
        [Remove("a"), Start(), Serve("b", "exit code 1")],
    ),
    "what was lost is not forgotten by a failed start": (
        Absent("broke"),
        (Asked(), StartFailed(FAILED), Asked(), Started("b")),
        Live("b"),
        [Start(), Refuse(FAILED), Start(), Serve("b", "broke")],
    ),
    "gone while starting is the start's own matter": (Starting(), (Gone("a", "x"),), Starting(), []),
    "gone twice is gone once": (
        Live("a"),
        (Gone("a", "first"), Gone("a", "second")),
        Removing("a", "first"),
        [Remove("a")],
    ),
    "an older sandbox's going does not touch the new one": (Live("b"), (Gone("a", "late"),), Live("b"), []),
    "an older removal's end does not touch the new sandbox": (Live("b"), (Removed("a", "x"),), Live("b"), []),
    "another removal's end is not this one's": (
        Removing("b", "x", asked=True),
        (Removed("a", "y"),),
        Removing("b", "x", asked=True),
        [],
    ),
    "a sandbox that nobody waits for is removed": (Live("a"), (Started("b"),), Live("a"), [Remove("b")]),
    "a start that ends after it failed is removed": (Absent(), (Started("b"),), Absent(), [Remove("b")]),
    "one that is found is there without a start": (Absent("x"), (Found("a"), Asked()), Live("a"), [Serve("a")]),
    "one that is found while another starts is the one": (
        Starting("x"),
        (Found("a"), StartFailed(FAILED)),
        Live("a"),
        [AbandonStart(), Serve("a")],
    ),
    "one that is found with its files only is woken when it is asked for": (
        Absent(),
        (Found("a", stopped=True), Asked()),
        Waking("a", Rest.STOPPED),
        [StartAgain("a")],
    ),
    "one that is found with its files only is woken for who waits": (
        Starting(),
        (Found("a", stopped=True), Woken("a")),
        Live("a"),
        [AbandonStart(), StartAgain("a"), Serve("a", restarted=True)],
    ),
    "one that is found too late is removed": (Live("b"), (Found("a"),), Live("b"), [Remove("a")]),
    "one that is found for a deleted session is removed": (
        Closed(DELETED),
        (Found("a"),),
        Closed(DELETED),
        [Remove("a")],
    ),
    "left while live removes nothing": (Live("a"), (LeaveAsked(DELETED),), Closed(DELETED), []),
    "left while it rests removes nothing": (Stopped("a"), (LeaveAsked(DELETED),), Closed(DELETED), []),
    "left while it is woken refuses who waits": (
        Paused("a"),
        (Asked(), LeaveAsked(DELETED), Woken("a")),
        Closed(DELETED),
        [Resume("a"), Refuse(DELETED)],
    ),
    "left while it starts is as good as deleted": (
        Starting(),
        (LeaveAsked(DELETED), Started("a")),
        Closed(DELETED),
        [AbandonStart(), Refuse(DELETED), Remove("a")],
    ),
    "deleted with nothing there needs nothing": (Absent(), (CloseAsked(DELETED),), Closed(DELETED), []),
    "deleted while live removes": (Live("a"), (CloseAsked(DELETED),), Closed(DELETED), [Remove("a")]),
    "deleted twice removes once": (
        Live("a"),
        (CloseAsked(DELETED), CloseAsked(DELETED)),
        Closed(DELETED),
        [Remove("a")],
    ),
    "a going after the deletion is nothing new": (
        Live("a"),
        (CloseAsked(DELETED), Gone("a", "closed"), Removed("a", "closed")),
        Closed(DELETED),
        [Remove("a")],
    ),
    "deleted while removing leaves the removal to its end": (
        Live("a"),
        (Gone("a", "x"), CloseAsked(DELETED), Removed("a", "x")),
        Closed(DELETED),
        [Remove("a")],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_race(case: str) -> None:
    state, events, expected, instructions = TABLE[case]
    assert play(state, *events) == (expected, instructions)


def test_deleted_while_starting_fails_the_waiters_and_removes_a_late_sandbox() -> None:
    state, done = play(Starting(), CloseAsked(DELETED), Started("late"), Removed("late", ""))
    assert state == Closed(DELETED)
    assert [type(instruction) for instruction in done] == [AbandonStart, Refuse, Remove]


def test_deleted_while_removing_fails_those_who_wait() -> None:
    state, done = play(Live("a"), Gone("a", "x"), Asked(), CloseAsked(DELETED), Removed("a", "x"))
    assert state == Closed(DELETED)
    assert [type(instruction) for instruction in done] == [Remove, Refuse]


def test_nobody_is_served_after_the_deletion() -> None:
    state, done = play(Closed(DELETED), Asked(), StartFailed(FAILED), Asked())
    assert state == Closed(DELETED)
    assert [type(instruction) for instruction in done] == [Refuse, Refuse]


def test_in_every_order_of_four_events_each_sandbox_that_started_ends_live_or_removed() -> None:
    events: tuple[Event, ...] = (
        Asked(),
        Started("a"),
        Started("b"),
        StartFailed(FAILED),
        Gone("a", "x"),
        Removed("a", "x"),
        CloseAsked(DELETED),
    )
    for order in itertools.permutations(events, 4):
        state, done = play(Absent(), *order)
        removed = {instruction.sandbox_id for instruction in done if isinstance(instruction, Remove)}
        live = {state.sandbox_id} if isinstance(state, Live) else set()
        started = {event.sandbox_id for event in order if isinstance(event, Started)}
        assert started == removed | live, order


def test_in_every_order_whoever_asked_is_served_refused_or_still_awaited() -> None:
    events: tuple[Event, ...] = (Asked(), Started("a"), StartFailed(FAILED), Gone("a", "x"), Removed("a", "x"))
    for order in itertools.permutations(events):
        waiting = False
        state: State = Absent()
        for event in order:
            waiting = waiting or isinstance(event, Asked)
            state, done_now = step(state, event)
            waiting = waiting and not any(isinstance(item, Serve | Refuse) for item in done_now)
        awaited = isinstance(state, Starting) or (isinstance(state, Removing) and state.asked)
        assert waiting == awaited, order
