"""When an idle sandbox earns which rest, as a table; and the timer, over a clock that is moved by hand."""

import pytest

from sandbox.sessions.reaper import IdleRules, Reaper, Stage, due, next_at
from tests.support.clock import ManualClock

USUAL = IdleRules()
NEVER = IdleRules(pause_after_s=0, stop_after_s=0, remove_after_s=0)
NO_PAUSE = IdleRules(pause_after_s=0, stop_after_s=10, remove_after_s=20)
STOP_FIRST = IdleRules(pause_after_s=20, stop_after_s=10, remove_after_s=0)

TABLE: dict[str, tuple[IdleRules, Stage, float, Stage | None, float | None]] = {
    "at first it stays": (USUAL, Stage.LIVE, 0, None, 60),
    "a moment before the pause it stays": (USUAL, Stage.LIVE, 59.9, None, 60),
    "after a minute it is paused": (USUAL, Stage.LIVE, 60, Stage.PAUSED, 60),
    "paused, it waits for the stop": (USUAL, Stage.PAUSED, 60, None, 1800),
    "after half an hour it is stopped": (USUAL, Stage.PAUSED, 1800, Stage.STOPPED, 1800),
    "stopped, it waits for the removal": (USUAL, Stage.STOPPED, 1800, None, 86_400),
    "after a day it is removed": (USUAL, Stage.STOPPED, 86_400, Stage.REMOVED, 86_400),
    "what was overslept is skipped": (USUAL, Stage.LIVE, 90_000, Stage.REMOVED, 60),
    "with all at 0 it stays for ever": (NEVER, Stage.LIVE, 1e9, None, None),
    "without pauses it goes from live to stopped": (NO_PAUSE, Stage.LIVE, 10, Stage.STOPPED, 10),
    "stopped before a pause was due, it is not paused": (STOP_FIRST, Stage.STOPPED, 100, None, None),
}


@pytest.mark.parametrize("case", TABLE)
def test_rule(case: str) -> None:
    rules, stage, idle_s, earned, next_s = TABLE[case]
    assert due(rules, stage, 1000.0, 1000.0 + idle_s) == earned
    assert next_at(rules, stage, 1000.0) == (None if next_s is None else 1000.0 + next_s)


def watched(rules: IdleRules = USUAL) -> tuple[ManualClock, Reaper, list[Stage]]:
    clock = ManualClock()
    earned: list[Stage] = []
    reaper = Reaper(rules, clock, earned.append)
    reaper.at(Stage.LIVE)
    return clock, reaper, earned


def test_the_timer_goes_off_at_each_stage() -> None:
    clock, reaper, earned = watched()
    for seconds, stage in ((60, Stage.PAUSED), (1740, Stage.STOPPED), (84_600, Stage.REMOVED)):
        clock.advance(seconds - 0.1)
        assert stage not in earned
        clock.advance(0.1)
        assert earned[-1] is stage
        reaper.at(None)
        reaper.at(stage)
    assert not clock.timers


def test_use_begins_the_time_anew() -> None:
    clock, reaper, earned = watched()
    clock.advance(50)
    with reaper.used():
        clock.advance(1000)
    clock.advance(59)
    assert not earned
    clock.advance(1)
    assert earned == [Stage.PAUSED]


def test_a_look_holds_it_awake_but_is_no_use() -> None:
    clock, reaper, earned = watched()
    clock.advance(50)
    with reaper.used(counts=False):
        clock.advance(20)
        assert not earned
    clock.advance(0)
    assert earned == [Stage.PAUSED]


def test_many_uses_cost_one_timer() -> None:
    clock, reaper, earned = watched()
    for _ in range(100):
        with reaper.used():
            clock.advance(1)
    assert len(clock.timers) == 1
    assert not earned


def test_nothing_is_waited_for_without_a_sandbox_or_without_rules() -> None:
    clock, reaper, _ = watched()
    reaper.at(None)
    assert not clock.timers
    clock, reaper, _ = watched(NEVER)
    with reaper.used():
        clock.advance(1)
    assert not clock.timers


def test_what_turns_out_to_be_busy_has_its_full_time_again() -> None:
    clock, reaper, earned = watched()
    clock.advance(60)
    reaper.stay()
    clock.advance(59)
    assert earned == [Stage.PAUSED]
    clock.advance(1)
    assert earned == [Stage.PAUSED, Stage.PAUSED]
