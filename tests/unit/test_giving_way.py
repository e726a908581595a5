"""Who gives way to requests that find no room, as a table."""

import pytest

from sandbox.sessions.giving_way import Held, Unused, Wait, choose, may_give_way
from sandbox.sessions.reaper import IdleRules

ROOM = 6
"""Units of memory, and sandboxes, that there are."""


def fits(sandboxes: int, held: int, wanted: int) -> bool:
    return sandboxes < ROOM and held + wanted <= ROOM


def held(of: str) -> dict[str, Held]:
    """`a1 a1:2 .1`: two of owner a, the second one with 2 units, and one that no session has."""
    rooms: dict[str, Held] = {}
    for word in of.split():
        name, _, size = word.partition(":")
        owner = None if name[0] == "." else name[0]
        rooms[name] = Held(owner, int(size or 1))
    return rooms


def unused(of: str) -> list[Unused]:
    """`a1=70 a2=90p .1`: for how many seconds, and whether paused."""
    some = []
    for word in of.split():
        name, _, idle = word.partition("=")
        session_id = None if name[0] == "." else f"session of {name}"
        some.append(Unused(name, session_id, float(idle.rstrip("p") or 0), idle.endswith("p")))
    return some


def waits(of: str) -> list[Wait]:
    """`a b:2`: a request of owner a, then one of b for 2 units."""
    words = (word.partition(":") for word in of.split())
    return [Wait(owner, int(size or 1)) for owner, _, size in words]


TABLE: dict[str, tuple[str, str, str, str]] = {
    # who waits; who has room; who is unused; who goes
    "nobody goes while there is room": ("a", "a1 a2", "a1=900p a2=900p", ""),
    "the one that was idle longest goes": ("a", "a1 a2 a3 a4 a5 a6", "a1=70p a2=90p a3=80p", "a2"),
    "a paused one goes before a live one that was idle longer": ("a", "a1 a2:5", "a1=900 a2=60p", "a2"),
    "a live one goes when none is paused": ("a", "a1 a2 a3:4", "a1=70 a2=90", "a2"),
    "one that no session has goes before all others": ("a", "a1 a2 a3:3 .1", "a1=900p .1", ".1"),
    "nobody unused, nobody goes": ("a", "a1:6", "", ""),
    "one that has no room any more makes none": ("a", "a1:6", "b1=900p", ""),
    "two who wait choose two": ("a a", "a1 a2 a3 a4 a5 a6", "a1=70p a2=90p a3=80p", "a2 a3"),
    "of two who wait the first gets what there is": ("a b", "a1:3 a2 b1:2", "a2=90p", "a2"),
    "one who has room by now takes it from those behind": ("a a", "a1 a2 a3 a4 a5", "a1=70p a2=90p", "a2"),
    "the owner who has most gives way, whoever was idle longer": (
        "a",
        "a1 b1 b2 b3 c1 c2",
        "a1=900p b1=60p b2=70p c1=900p",
        "b2",
    ),
    "among equals who asks gives way": ("a", "a1 a2 a3 b1 b2 b3", "a1=60p b1=900p", "a1"),
    "who asks gives way with one less than the other too": ("a", "a1 a2 a3:2 b1 b2", "a1=60 b1=900p", "a1"),
    "another's goes when who asks has none that is unused": ("a", "a1 a2 a3 a4 b1 b2", "b1=60p b2=70p", "b2"),
    "what one took counts for the next": (
        "a a a a",
        "a1 b1 b2 b3 b4 b5",
        "a1=99p b1=9p b2=8p b3=7p b4=6p",
        "b1 b2 a1 b3",
    ),
    "two owners who wait end with the same": ("b c", "a1 a2 a3 a4 a5 a6", "a1=9p a2=8p a3=7p", "a1 a2"),
    "for a large one several go": ("a:3", "a1 a2 a3 a4 a5 a6", "a1=9p a2=8p a3=7p a4=6p", "a1 a2 a3"),
    "for a large one no more go than have to": ("a:3", "a1 a2:3 a3:2", "a1=9p a2=8p", "a2"),
    "for one that finds no room all the same nobody goes, for those behind neither": (
        "a:5 b",
        "a1 a2 a3 b1 b2 b3",
        "a1=9p b1=8p",
        "",
    ),
    "pools give way to a large one first": ("a:2", "a1 a2:3 .1 .2", "a1=900p a2=900p .1 .2", ".1 .2"),
}


@pytest.mark.parametrize("case", TABLE)
def test_choice(case: str) -> None:
    asked, rooms, idle, goes = TABLE[case]
    chosen = choose(waits(asked), held(rooms), unused(idle), fits)
    assert [one.sandbox_id for one in chosen] == goes.split()


@pytest.mark.parametrize(
    ("rules", "idle_s", "paused", "may"),
    [
        (IdleRules(), 59, True, False),
        (IdleRules(), 60, True, True),
        (IdleRules(), 60, False, True),
        (IdleRules(make_room_after_s=1), 1, True, True),
        (IdleRules(make_room_after_s=1), 4, False, False),
        (IdleRules(make_room_after_s=1), 5, False, True),
        (IdleRules(make_room_after_s=0), 1e9, True, False),
        (IdleRules(stop_after_s=0), 1e9, True, False),
    ],
)
def test_it_may_give_way_after_its_time_and_a_live_one_never_between_two_calls(
    rules: IdleRules, idle_s: float, paused: bool, may: bool
) -> None:
    assert may_give_way(rules, Unused("a", "s", idle_s, paused)) is may
