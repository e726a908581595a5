"""Room for who waits, over a scripted runtime and a clock that the test moves: idle sandboxes give way."""

import asyncio
from dataclasses import replace

import pytest

from sandbox.errors import Overloaded
from sandbox.metrics import Metrics
from sandbox.pipe.messages import CodeResult, Ending, RunBash, RunCode
from sandbox.runtimes.base import Condition
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reaper import IdleRules
from tests.sessions.conftest import MakeManager
from tests.support.clock import ManualClock, until
from tests.support.scripted_runtime import GIB, Box, ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

STAY_LIVE = IdleRules(pause_after_s=0)
EARLY = (
    "The sandbox had been stopped early, while nobody used it, to make room for another one and was started again. "
    "Variables and running programs are lost; files are kept."
)


class House:
    """A manager over a scripted runtime, and the clock. Sessions are known by label, `ann/1` those of others."""

    def __init__(self, manager: SessionManager, scripted: ScriptedRuntime, clock: ManualClock) -> None:
        self.manager = manager
        self.scripted = scripted
        self.clock = clock

    async def start(self, name: str, code: str = "echo hi") -> Execution:
        owner, _, label = name.partition("/")
        session = await self.manager.resolve(owner, label, None)
        return await self.manager.start(session, RunCode(code), timeout_s=10)

    async def run(self, *names: str) -> Execution:
        """Run something in each, one second after the other; the last execution."""
        for name in names:
            self.clock.advance(1)
            execution = await self.start(name)
            result = await execution.wait()
            assert isinstance(result, CodeResult)
            assert result.ending is Ending.COMPLETED
            await until(lambda: self.manager.running == 0)
        return execution

    async def box(self, name: str) -> Box:
        owner, _, label = name.partition("/")
        status = await self.manager.status(await self.manager.resolve(owner, label, None))
        assert status is not None
        return self.scripted.boxes[status.sandbox_id]

    async def stopped(self, *names: str) -> list[str]:
        """Those of the sessions whose sandbox the engine has stopped."""
        return [name for name in names if (await self.box(name)).condition is Condition.EXITED]

    async def rest(self, seconds: float, **states: int) -> None:
        """Let so much time pass, and wait until so many sandboxes are in these states."""
        self.clock.advance(seconds)
        await until(lambda: dict(self.manager.states) == states)

    async def waiting(self, count: int) -> None:
        await until(lambda: self.manager.supply.admission.waiting == count)

    async def stopping(self) -> None:
        """Wait until one of the two paused sandboxes is being stopped."""
        await until(lambda: self.scripted.rests == ["pause", "pause", "stop"])


async def house(make: MakeManager, scripted: ScriptedRuntime, limits: SessionLimits, **more: object) -> House:
    clock = ManualClock()
    return House(await make(scripted, limits, timers=clock, **more), scripted, clock)


TWO = SessionLimits(pool_size=0, max_sandboxes=2, admission_wait_s=20, call_deadline_s=5)
SOON_REFUSED = replace(TWO, admission_wait_s=0.05)


@pytest.fixture
async def paused(make_manager: MakeManager, scripted: ScriptedRuntime) -> House:
    """Room for two, which `ann/1` and `ann/2` have: idle for a minute, and paused."""
    here = await house(make_manager, scripted, TWO)
    await here.run("ann/1", "ann/2")
    await here.rest(60, paused=2)
    return here


@pytest.fixture
async def live(make_manager: MakeManager, scripted: ScriptedRuntime) -> House:
    """Room for two, which `ann/1` and `ann/2` have: used a moment ago, and never paused."""
    here = await house(make_manager, scripted, replace(TWO, idle=STAY_LIVE))
    await here.run("ann/1", "ann/2")
    return here


# --- who goes, and what it is told ------------------------------------------------------------------------


async def test_the_19th_session_of_a_machine_for_18_is_served_and_the_oldest_idle_one_comes_back_with_its_files(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    scripted.memory = 23 * GIB
    metrics = Metrics()
    here = await house(make_manager, scripted, SessionLimits(pool_size=0), observer=metrics)
    names = [f"ann/{number}" for number in range(18)]
    await here.run(*names)
    (await here.box("ann/0")).files["/home/user/kept"] = b"kept"
    await here.rest(60, paused=18)

    assert (await here.run("ann/18")).recreated is None
    assert await here.stopped(*names) == ["ann/0"]
    assert here.manager.supply.admission.held == 18

    assert (await here.run("ann/0")).recreated == EARLY
    assert (await here.run("ann/0")).recreated is None
    assert (await here.box("ann/0")).files == {"/home/user/kept": b"kept"}
    assert await here.stopped(*names) == ["ann/1"]
    assert len(scripted.created) == 19
    text = metrics.text().decode()
    assert 'workbench_sandbox_rests_total{rest="stopped_early"} 2.0' in text
    assert 'workbench_sandbox_rests_total{rest="stopped"}' not in text


async def test_a_live_one_that_was_idle_for_long_enough_gives_way_too(live: House, scripted: ScriptedRuntime) -> None:
    live.clock.advance(60)
    await live.run("ann/3")
    assert await live.stopped("ann/1", "ann/2") == ["ann/1"]
    assert scripted.rests == ["stop"]
    assert (await live.run("ann/1")).recreated == EARLY


async def test_one_key_cannot_push_out_others_while_it_has_idle_ones_itself(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    here = await house(make_manager, scripted, replace(TWO, max_sandboxes=4))
    names = ["bob/1", "bob/2", "ann/1", "ann/2"]
    await here.run(*names)
    await here.rest(60, paused=4)
    await here.run("ann/3")
    assert await here.stopped(*names) == ["ann/1"]
    await here.rest(60, paused=4, stopped=1)
    await here.run("carl/1")
    assert await here.stopped(*names, "ann/3") == ["bob/1", "ann/1"]


async def test_pools_give_way_before_any_session(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    here = await house(make_manager, scripted, replace(TWO, pool_size=1, pool_interval_s=0))
    await here.manager.pool.filled()
    await here.run("ann/1")
    await here.manager.pool.filled()
    await here.rest(60, paused=1)
    sandbox, from_pool = await here.manager.supply.give("large", "ann")
    assert (sandbox.spec.size.name, from_pool) == ("large", False)
    assert await here.stopped("ann/1") == []
    assert scripted.removed == scripted.created[1:2]


async def test_a_sandbox_of_a_pool_that_still_boots_gives_way_when_it_is_ready(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    here = await house(make_manager, scripted, replace(TWO, pool_size=1, pool_interval_s=0))
    await here.manager.pool.filled()
    await scripted.creating.acquire()
    scripted.slow.clear()
    await here.run("ann/1")
    await scripted.creating.acquire()
    await here.rest(60, paused=1)
    asking = asyncio.create_task(here.manager.supply.give("large", "ann"))
    await here.waiting(1)
    scripted.slow.set()
    assert (await asking)[1] is False
    assert await here.stopped("ann/1") == []
    assert scripted.removed == scripted.created[1:2]


# --- who does not go --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        IdleRules(pause_after_s=10),
        IdleRules(pause_after_s=10, make_room_after_s=0),
        IdleRules(pause_after_s=10, make_room_after_s=5, stop_after_s=0),
        IdleRules(pause_after_s=0, make_room_after_s=50),
    ],
    ids=["idle for too short", "never", "never stopped", "live, idle for too short"],
)
async def test_where_nothing_may_give_way_the_request_waits_and_is_refused_as_ever(
    make_manager: MakeManager, scripted: ScriptedRuntime, rules: IdleRules
) -> None:
    here = await house(make_manager, scripted, replace(SOON_REFUSED, idle=rules))
    await here.run("ann/1", "ann/2")
    here.clock.advance(20)
    with pytest.raises(Overloaded, match=r"within 0\.05 s .*`max_sandboxes` is 2, and there are 2"):
        await (await here.start("ann/3")).wait()
    assert await here.stopped("ann/1", "ann/2") == []


async def test_what_runs_and_what_has_a_background_job_does_not_give_way(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    here = await house(make_manager, scripted, replace(SOON_REFUSED, idle=STAY_LIVE))
    await here.run("ann/1", "ann/2")
    (await here.box("ann/1")).jobs = 1
    session = await here.manager.resolve("ann", "2", None)
    busy = await here.manager.start(session, RunBash("wait"), timeout_s=10)
    for _ in range(3):
        await scripted.started.acquire()
    here.clock.advance(600)
    with pytest.raises(Overloaded):
        await (await here.start("ann/3")).wait()
    assert scripted.rests == []
    busy.interrupt()
    await busy.ended()


async def test_open_files_keep_a_sandbox(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    here = await house(make_manager, scripted, replace(SOON_REFUSED, max_sandboxes=1))
    async with here.manager.files(await here.manager.resolve("ann", "1", None)):
        here.clock.advance(600)
        with pytest.raises(Overloaded):
            await (await here.start("ann/2")).wait()
    assert scripted.rests == []


async def test_one_with_background_jobs_is_passed_over_for_the_next_one(live: House) -> None:
    (await live.box("ann/1")).jobs = 1
    live.clock.advance(60)
    await live.run("ann/3")
    assert await live.stopped("ann/1", "ann/2") == ["ann/2"]


async def test_background_jobs_are_no_reason_when_the_setting_says_so(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    rules = replace(STAY_LIVE, background_jobs_keep_awake=False)
    here = await house(make_manager, scripted, replace(TWO, idle=rules))
    await here.run("ann/1", "ann/2")
    (await here.box("ann/1")).jobs = 1
    here.clock.advance(60)
    await here.run("ann/3")
    assert await here.stopped("ann/1", "ann/2") == ["ann/1"]


async def test_one_that_the_engine_does_not_stop_is_passed_over_for_the_next_one(
    paused: House, scripted: ScriptedRuntime
) -> None:
    scripted.refuse_rest.add("stop")
    scripted.rest.clear()
    asking = await paused.start("ann/3")
    await paused.stopping()
    scripted.rest.set()
    await until(lambda: scripted.rests[2:] == ["stop", "stop"])
    await paused.waiting(1)
    scripted.refuse_rest.clear()
    assert (await paused.box("ann/1")).condition is Condition.PAUSED
    await paused.manager.delete("ann", (await paused.manager.resolve("ann", "1", None)).id)
    assert (await asking.wait()).ending is Ending.COMPLETED


# --- races ------------------------------------------------------------------------------------------------


async def test_two_who_wait_at_once_get_the_room_of_two_and_no_more_are_stopped(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    here = await house(make_manager, scripted, replace(TWO, max_sandboxes=5))
    names = [f"ann/{number}" for number in range(5)]
    await here.run(*names)
    await here.rest(60, paused=5)
    executions = [await here.start(name) for name in ("ann/5", "ann/6")]
    for execution in executions:
        await execution.wait()
    assert await here.stopped(*names) == ["ann/0", "ann/1"]


async def test_many_looks_while_a_sandbox_is_stopped_choose_no_other(paused: House, scripted: ScriptedRuntime) -> None:
    scripted.rest.clear()
    asking = await paused.start("ann/3")
    await paused.stopping()
    for _ in range(5):
        paused.clock.advance(1)
        paused.manager.supply.admission.look()
    scripted.rest.set()
    await asking.wait()
    assert await paused.stopped("ann/1", "ann/2") == ["ann/1"]


async def test_one_that_is_asked_for_while_it_is_stopped_is_woken_and_another_gives_way(
    paused: House, scripted: ScriptedRuntime
) -> None:
    scripted.rest.clear()
    new = await paused.start("ann/3")
    await paused.stopping()
    old = await paused.start("ann/1")
    scripted.rest.set()
    await new.wait()
    await old.wait()
    assert old.recreated == EARLY
    assert await paused.stopped("ann/1", "ann/2", "ann/3") == ["ann/2"]


async def test_one_that_is_needed_before_its_stop_has_begun_is_not_stopped_and_another_gives_way(
    live: House, scripted: ScriptedRuntime
) -> None:
    live.clock.advance(60)
    box = await live.box("ann/1")
    box.statuses.clear()
    new = await live.start("ann/3")
    await live.waiting(1)
    old = await live.start("ann/1")
    await old.wait()
    assert (old.recreated, scripted.rests) == (None, [])
    box.statuses.set()
    await new.wait()
    assert await live.stopped("ann/1", "ann/2") == ["ann/2"]


async def test_one_whose_agent_does_not_say_whether_it_is_busy_is_passed_over(live: House) -> None:
    live.clock.advance(60)
    box = await live.box("ann/1")
    box.statuses.clear()
    assert (await (await live.start("ann/3")).wait()).ending is Ending.COMPLETED
    box.statuses.set()
    assert await live.stopped("ann/1", "ann/2") == ["ann/2"]


async def test_one_that_has_been_idle_for_long_enough_only_later_is_taken_for_who_still_waits(
    live: House, scripted: ScriptedRuntime
) -> None:
    live.clock.advance(50)
    asking = await live.start("ann/3")
    await live.waiting(1)
    assert scripted.rests == []
    live.clock.advance(9)
    await asking.wait()
    assert await live.stopped("ann/1", "ann/2") == ["ann/1"]


async def test_who_leaves_the_queue_while_room_is_made_leaves_it_free(paused: House, scripted: ScriptedRuntime) -> None:
    scripted.rest.clear()
    asking = asyncio.create_task(paused.manager.supply.give("standard", "ann"))
    await paused.stopping()
    asking.cancel()
    await paused.waiting(0)
    scripted.rest.set()
    await until(lambda: paused.manager.supply.admission.held == 1)
    await paused.run("ann/3")
    assert await paused.stopped("ann/1", "ann/2") == ["ann/1"]


async def test_a_session_that_is_deleted_while_it_gives_way_leaves_its_room_to_who_waits(
    paused: House, scripted: ScriptedRuntime
) -> None:
    scripted.rest.clear()
    asking = await paused.start("ann/3")
    await paused.stopping()
    deleting = asyncio.create_task(paused.manager.delete("ann", (await paused.manager.resolve("ann", "1", None)).id))
    await until(lambda: dict(paused.manager.states) == {"paused": 1, "starting": 1})
    scripted.rest.set()
    await deleting
    await asking.wait()
    assert await paused.stopped("ann/2") == []
