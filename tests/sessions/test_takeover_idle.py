"""Idle time of sandboxes that one controller after another has: it goes on, and begins anew with each use."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.runtimes.base import Runtime
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.store_sql import SqlStore
from tests.sessions.conftest import MakeManager
from tests.support.clock import ManualClock, until
from tests.support.lasting import KEEP, answer
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


class Days:
    """The calendar and the timers of controllers that follow one another."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.clock = ManualClock()

    def calendar(self) -> datetime:
        return self.now

    def next_rest_s(self) -> float:
        """Seconds until the next timer of an idle sandbox goes off."""
        return min(timer.when for timer in self.clock.timers) - self.clock.time()

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.clock.advance(seconds)


async def at_rest(manager: SessionManager, state: str) -> None:
    await until(lambda: dict(manager.states) == {state: 1})


LATE_S = KEEP.touch_interval_s
"""How old the noted time of the last use may be: for so long nobody is held to have been idle."""


async def test_idle_time_goes_on_however_often_the_controller_is_restarted(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    days = Days()
    for hour in range(24):
        manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
        if hour == 0:
            await answer(manager, await manager.resolve("ann", "work", None))
        days.pass_by(3600)
        await at_rest(manager, "stopped")
        await manager.aclose()
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    days.pass_by(LATE_S)
    await until(lambda: scripted.boxes == {})
    assert not manager.states


async def test_a_sandbox_that_was_used_just_before_the_restart_has_all_of_its_time(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    days = Days()
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    session = await manager.resolve("ann", "work", None)
    await answer(manager, session)
    days.pass_by(LATE_S - 1)
    await answer(manager, session)
    await manager.aclose()
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    assert days.next_rest_s() == KEEP.idle.pause_after_s
    days.pass_by(KEEP.idle.pause_after_s)
    await at_rest(manager, "paused")


async def test_a_new_sandbox_of_an_old_session_is_not_as_old_as_the_session(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime, tmp_path: Path
) -> None:
    days = Days()
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    session = await manager.resolve("ann", "work", None)
    await answer(manager, session)
    await manager.aclose()
    # As after a power cut in the moment in which a claim is stored and the use is not.
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    await store.touch({session.id: days.now - timedelta(days=2)})
    await store.close()
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    assert dict(manager.states) == {"live": 1}
    assert days.next_rest_s() == KEEP.idle.pause_after_s


async def test_background_jobs_are_a_use_that_the_next_controller_knows_of(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    days = Days()
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    await answer(manager, await manager.resolve("ann", "work", None))
    (box,) = scripted.boxes.values()
    box.jobs = 1
    asked = len(days.clock.timers)
    days.pass_by(90_000)
    await until(lambda: len(days.clock.timers) == asked)
    await manager.aclose()
    box.jobs = 0
    manager = await make_manager(engine, KEEP, clock=days.calendar, timers=days.clock)
    assert dict(manager.states) == {"live": 1}
    assert days.next_rest_s() == KEEP.idle.pause_after_s
