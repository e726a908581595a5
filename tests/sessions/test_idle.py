"""Idle sandboxes over a scripted runtime and a clock that the test moves: when they rest, and how they are woken."""

import asyncio
from dataclasses import replace

import pytest

from sandbox.errors import EngineUnavailable, NotFound
from sandbox.pipe.messages import CodeResult, Ending, RunCode
from sandbox.runtimes.base import Condition
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reaper import IdleRules
from sandbox.sessions.session import Session
from tests.sessions.conftest import MakeManager
from tests.support.clock import ManualClock, until
from tests.support.scripted_runtime import Box, ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

LIMITS = SessionLimits(pool_size=0, call_deadline_s=5)
RESTARTED = (
    "The sandbox had been stopped and was started again. Variables and running programs are lost; files are kept."
)


class Idle:
    """A manager over a scripted runtime, one session of it, and the clock."""

    def __init__(
        self, manager: SessionManager, session: Session, scripted: ScriptedRuntime, clock: ManualClock
    ) -> None:
        self.manager = manager
        self.session = session
        self.scripted = scripted
        self.clock = clock

    @property
    def box(self) -> Box:
        (box,) = self.scripted.boxes.values()
        return box

    async def run(self, code: str = "echo hi") -> Execution:
        execution = await self.manager.start(self.session, RunCode(code), timeout_s=10)
        result = await execution.wait()
        assert isinstance(result, CodeResult)
        assert result.ending is Ending.COMPLETED, result
        return execution

    async def state(self) -> str:
        status = await self.manager.status(self.session)
        return "none" if status is None else status.state

    async def rest(self, seconds: float, state: str) -> None:
        """Let so much time pass, and wait until the sandbox is there."""
        self.clock.advance(seconds)
        await until(lambda: dict(self.manager.states) == {state: 1})


@pytest.fixture
async def idle(make_manager: MakeManager, scripted: ScriptedRuntime) -> Idle:
    clock = ManualClock()
    manager = await make_manager(scripted, LIMITS, timers=clock)
    idle = Idle(manager, await manager.resolve("ann", "x", None), scripted, clock)
    await idle.run()
    return idle


# --- rest -------------------------------------------------------------------------------------------------


async def test_it_is_paused_after_a_minute_and_resumed_by_the_next_request_without_a_word(idle: Idle) -> None:
    await idle.rest(60, "paused")
    assert idle.box.condition is Condition.PAUSED
    execution = await idle.run()
    assert execution.recreated is None
    assert idle.scripted.rests == ["pause", "resume"]
    assert len(idle.scripted.created) == 1


async def test_it_is_stopped_after_half_an_hour_and_the_answer_that_wakes_it_says_what_is_lost(idle: Idle) -> None:
    await idle.rest(60, "paused")
    await idle.rest(1740, "stopped")
    execution = await idle.run()
    assert execution.recreated == RESTARTED
    assert (await idle.run()).recreated is None
    assert len(idle.scripted.created) == 1


async def test_it_is_removed_after_a_day_and_the_session_stays(idle: Idle) -> None:
    await idle.rest(1800, "stopped")
    idle.clock.advance(86_400 - 1800)
    await until(lambda: not idle.manager.states)
    assert not idle.scripted.boxes
    assert (await idle.manager.get("ann", "x")).id == idle.session.id
    execution = await idle.run()
    assert execution.recreated == (
        "The session has a new sandbox: the old one was removed after 24 h without use. "
        "Variables and files of the old one are lost."
    )


async def test_what_runs_keeps_it_awake(idle: Idle) -> None:
    execution = await idle.manager.start(idle.session, RunCode("wait"), timeout_s=10)
    await until(lambda: idle.scripted.started.locked() is False)
    idle.clock.advance(90_000)
    assert await idle.state() == "live"
    execution.interrupt()
    await execution.ended()
    await until(lambda: idle.manager.running == 0)
    await idle.rest(60, "paused")


async def test_background_jobs_keep_it_awake(idle: Idle) -> None:
    idle.box.jobs = 1
    asked = len(idle.clock.timers)
    idle.clock.advance(90_000)
    await until(lambda: len(idle.clock.timers) == asked)
    assert await idle.state() == "live"
    idle.box.jobs = 0
    await idle.rest(60, "paused")


async def test_background_jobs_are_no_reason_when_the_setting_says_so(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    clock = ManualClock()
    limits = SessionLimits(pool_size=0, idle=IdleRules(background_jobs_keep_awake=False))
    manager = await make_manager(scripted, limits, timers=clock)
    idle = Idle(manager, await manager.resolve("ann", "x", None), scripted, clock)
    await idle.run()
    idle.box.jobs = 1
    await idle.rest(60, "paused")


async def test_each_key_can_have_rules_of_its_own(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    clock = ManualClock()
    limits = SessionLimits(pool_size=0, idle_of={"bob": IdleRules(pause_after_s=0, stop_after_s=0, remove_after_s=0)})
    manager = await make_manager(scripted, limits, timers=clock)
    for owner in ("ann", "bob"):
        await Idle(manager, await manager.resolve(owner, "x", None), scripted, clock).run()
    clock.advance(60)
    await until(lambda: dict(manager.states) == {"paused": 1, "live": 1})
    clock.advance(90_000)
    await until(lambda: dict(manager.states) == {"live": 1})


async def test_reading_the_status_neither_wakes_it_nor_keeps_it_awake(idle: Idle) -> None:
    idle.clock.advance(59)
    assert await idle.state() == "live"
    await idle.rest(1, "paused")
    assert await idle.state() == "paused"
    await idle.rest(1740, "stopped")
    status = await idle.manager.status(idle.session)
    assert status is not None
    assert (status.state, status.agent, status.sandbox_id) == ("stopped", None, idle.scripted.created[0])
    assert idle.scripted.rests == ["pause", "stop"]


# --- races ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "state", "wakes"), [(60, "paused", "resume"), (1800, "stopped", "start")])
async def test_fifty_requests_at_once_wake_it_once(idle: Idle, seconds: float, state: str, wakes: str) -> None:
    await idle.rest(seconds, state)
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(idle.run())
    assert idle.scripted.rests.count(wakes) == 1
    assert len(idle.scripted.created) == 1


async def test_a_request_that_comes_while_it_is_paused_waits_and_runs(idle: Idle) -> None:
    idle.scripted.rest.clear()
    idle.clock.advance(60)
    await idle.scripted.resting.acquire()
    request = asyncio.create_task(idle.run())
    await asyncio.sleep(0)
    idle.scripted.rest.set()
    await request
    assert idle.scripted.rests == ["pause", "resume"]


async def test_one_that_is_used_while_it_is_asked_for_its_jobs_is_idle_anew(idle: Idle) -> None:
    idle.box.statuses.clear()
    idle.clock.advance(1800)
    await until(lambda: not idle.clock.timers)
    await idle.run()
    idle.box.statuses.set()
    await until(lambda: len(idle.clock.timers) == 1)
    assert await idle.state() == "live"
    idle.clock.advance(59)
    assert await idle.state() == "live"
    await idle.rest(1, "paused")


async def test_an_interrupted_waker_leaves_the_words_to_the_next_one(idle: Idle) -> None:
    await idle.rest(1800, "stopped")
    idle.scripted.rest.clear()
    first = await idle.manager.start(idle.session, RunCode("echo first"), timeout_s=10)
    await until(lambda: "stopped" not in idle.manager.states)
    first.interrupt()
    await first.ended()
    idle.scripted.rest.set()
    await until(lambda: dict(idle.manager.states) == {"live": 1})
    assert (await idle.run()).recreated == RESTARTED


@pytest.mark.parametrize(("seconds", "state"), [(60, "paused"), (1800, "stopped")])
async def test_deleting_the_session_removes_it_at_rest(idle: Idle, seconds: float, state: str) -> None:
    await idle.rest(seconds, state)
    await idle.manager.delete("ann", idle.session.id)
    assert not idle.scripted.boxes


async def test_deleting_the_session_while_it_wakes_fails_who_waits_and_removes_it(idle: Idle) -> None:
    await idle.rest(1800, "stopped")
    idle.scripted.rest.clear()
    waiting = await idle.manager.start(idle.session, RunCode("echo"), timeout_s=10)
    await idle.scripted.resting.acquire()
    deleting = asyncio.create_task(idle.manager.delete("ann", idle.session.id))
    with pytest.raises(NotFound):
        await waiting.wait()
    idle.scripted.rest.set()
    await deleting
    assert not idle.scripted.boxes


@pytest.mark.parametrize(("seconds", "state"), [(60, "paused"), (1800, "stopped")])
async def test_interrupt_and_restart_work_at_rest(idle: Idle, seconds: float, state: str) -> None:
    await idle.rest(seconds, state)
    assert await idle.manager.interrupt(idle.session) == 0
    assert dict(idle.manager.states) == {state: 1}
    await idle.manager.restart_kernel(idle.session)
    assert await idle.state() == "live"


# --- failures ---------------------------------------------------------------------------------------------


async def test_one_that_cannot_be_resumed_is_replaced_and_the_answer_says_so(idle: Idle) -> None:
    await idle.rest(60, "paused")
    idle.scripted.refuse_rest.add("resume")
    execution = await idle.run()
    assert execution.recreated == (
        "The session has a new sandbox: the old one could not be woken: the engine refuses to resume it. "
        "Variables and files of the old one are lost."
    )
    assert idle.scripted.removed == [idle.scripted.created[0]]


async def test_one_that_cannot_be_started_again_is_replaced_and_the_answer_says_so(idle: Idle) -> None:
    await idle.rest(1800, "stopped")
    idle.scripted.refuse_rest.add("start")
    execution = await idle.run()
    assert execution.recreated is not None
    assert "could not be woken: the engine refuses to start it" in execution.recreated


@pytest.mark.parametrize(("seconds", "state"), [(60, "paused"), (1800, "stopped")])
async def test_an_engine_that_is_away_loses_nothing(idle: Idle, seconds: float, state: str) -> None:
    await idle.rest(seconds, state)
    idle.scripted.broken = True
    execution = await idle.manager.start(idle.session, RunCode("echo"), timeout_s=10)
    with pytest.raises(EngineUnavailable):
        await execution.wait()
    assert dict(idle.manager.states) == {state: 1}
    idle.scripted.broken = False
    await idle.run()
    assert len(idle.scripted.created) == 1


async def test_a_stopped_one_that_an_engine_that_is_away_does_not_start_keeps_nobody_out(idle: Idle) -> None:
    await idle.rest(1800, "stopped")
    idle.scripted.broken = True
    with pytest.raises(EngineUnavailable):
        await (await idle.manager.start(idle.session, RunCode("echo"), timeout_s=10)).wait()
    assert idle.manager.supply.admission.held == 0
    idle.scripted.broken = False
    await idle.run()
    assert idle.manager.supply.admission.held == 1


async def test_a_pause_that_fails_is_sorted_out_by_the_next_request(idle: Idle) -> None:
    idle.scripted.refuse_rest.add("pause")
    await idle.rest(60, "paused")
    assert idle.box.condition is Condition.RUNNING
    assert (await idle.run()).recreated is None
    assert len(idle.scripted.created) == 1


async def test_a_pipe_that_is_cut_at_rest_is_opened_again(idle: Idle) -> None:
    await idle.rest(60, "paused")
    assert idle.box.link is not None
    idle.box.link.close()
    execution = await idle.run()
    assert execution.recreated is None
    assert len(idle.scripted.created) == 1


async def test_a_start_again_that_fails_is_told_with_the_agents_last_words(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    clock = ManualClock()
    manager = await make_manager(scripted, replace(LIMITS, boot_deadline_s=0.2), timers=clock)
    idle = Idle(manager, await manager.resolve("ann", "x", None), scripted, clock)
    await idle.run()
    await idle.rest(1800, "stopped")
    scripted.mute_again = True
    execution = await idle.run()
    assert "it was not ready within 0.2 s; its last words: farewell from the agent" in (execution.recreated or "")
    assert len(scripted.created) == 2


# --- an administrator's hand ------------------------------------------------------------------------------


async def test_one_that_is_stopped_from_outside_is_started_again_and_the_answer_says_so(idle: Idle) -> None:
    idle.box.end(Condition.EXITED)
    await until(lambda: dict(idle.manager.states) == {"stopped": 1})
    execution = await idle.run()
    assert execution.recreated == (
        "The sandbox had ended (it ended by itself or was stopped from outside (exit code 137)) and was started "
        "again. Variables and running programs are lost; files are kept."
    )
    assert (await idle.run()).recreated is None
    assert len(idle.scripted.created) == 1


async def test_what_runs_in_one_that_is_stopped_from_outside_ends_with_its_files_kept(idle: Idle) -> None:
    execution = await idle.manager.start(idle.session, RunCode("wait"), timeout_s=10)
    await idle.scripted.started.acquire()
    await idle.scripted.started.acquire()
    idle.box.end(Condition.EXITED)
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    assert (result.ending, result.variables_kept, result.files_kept) == (Ending.SANDBOX_GONE, False, True)
    assert "stopped from outside" in (result.note or "")


async def test_a_paused_one_that_is_ended_from_outside_is_started_again_on_its_files(idle: Idle) -> None:
    await idle.rest(60, "paused")
    idle.box.end(Condition.EXITED)
    assert (await idle.run()).recreated == RESTARTED
    assert len(idle.scripted.created) == 1


async def test_one_that_ended_is_removed_after_a_day_like_any_other_that_nobody_uses(idle: Idle) -> None:
    idle.box.end(Condition.EXITED)
    await until(lambda: dict(idle.manager.states) == {"stopped": 1})
    idle.clock.advance(86_400)
    await until(lambda: not idle.manager.states)
    assert not idle.scripted.boxes


async def test_one_that_is_paused_from_outside_is_resumed_when_its_pipe_is_cut_and_nothing_is_lost(idle: Idle) -> None:
    execution = await idle.manager.start(idle.session, RunCode("wait"), timeout_s=10)
    await idle.scripted.started.acquire()
    await idle.scripted.started.acquire()
    idle.box.end(Condition.PAUSED)
    await until(lambda: idle.scripted.rests == ["resume"])
    execution.interrupt()
    assert (await execution.wait()).ending is Ending.INTERRUPTED
    assert (await idle.run()).recreated is None
