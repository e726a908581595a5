"""Admission: the bounds on sandboxes and their starts, and the fair queue of those who wait."""

import asyncio

import pytest

from sandbox.errors import EngineUnavailable, NotFound, Overloaded, SandboxStartFailed
from sandbox.limits import MIB
from sandbox.pipe.messages import RunCode
from sandbox.sessions.admission import Admission, Bounds
from sandbox.sessions.background import Background
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.memory import MemoryBound
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.clock import ManualClock, until
from tests.support.scripted_runtime import GIB, ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


def admission(
    *,
    sandboxes: int = 10,
    memory: int | None = 1000,
    engine: int = 0,
    starts: int = 10,
    queue: int = 10,
    wait_s: float = 20,
) -> Admission:
    """Bounds; with `memory` None the engine is asked, and says that it has `engine` bytes."""

    async def ask() -> int:
        return engine

    bound = MemoryBound(memory, ask, Background())
    return Admission(Bounds(sandboxes, starts, queue, wait_s), bound, lambda: None)


async def asked(room: Admission, sandbox_id: str, owner: str, order: list[str], memory: int = 1) -> asyncio.Task[None]:
    """Ask for room, and come back when the question is in the queue or answered."""

    async def ask() -> None:
        await room.enter(sandbox_id, memory, owner)
        order.append(sandbox_id)

    task = asyncio.get_running_loop().create_task(ask())
    await asyncio.sleep(0)
    return task


async def test_owners_take_turns_and_each_ones_requests_keep_their_order() -> None:
    room = admission(sandboxes=1)
    await room.enter("first", 1, "ann")
    order: list[str] = []
    tasks = [await asked(room, name, "ann", order) for name in ("a1", "a2", "a3")]
    tasks += [await asked(room, name, "bob", order) for name in ("b1", "b2")]
    leaving = "first"
    for place in range(5):
        room.leave(leaving)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks = [task for task in tasks if not task.done()]
        leaving = order[place]
    assert order == ["a1", "b1", "a2", "b2", "a3"]


async def test_starts_at_once_are_bounded() -> None:
    room = admission(starts=2)
    order: list[str] = []
    tasks = [await asked(room, str(number), "ann", order) for number in range(3)]
    assert (room.starting, room.waiting) == (2, 1)
    room.started("0")
    await tasks[2]
    assert (room.starting, room.waiting, room.held) == (2, 0, 3)


async def test_memory_is_bounded_and_a_large_request_is_not_passed_by_small_ones() -> None:
    room = admission(memory=10)
    await room.enter("first", 8, "ann")
    order: list[str] = []
    large = await asked(room, "large", "ann", order, memory=8)
    small = await asked(room, "small", "bob", order, memory=2)
    assert room.waiting == 2
    room.leave("first")
    await asyncio.gather(large, small)
    assert order == ["large", "small"]


async def test_beyond_the_queue_it_is_overloaded_at_once() -> None:
    room = admission(sandboxes=1, queue=0)
    await room.enter("first", 1, "ann")
    with pytest.raises(Overloaded, match="no room"):
        await room.enter("second", 1, "ann")
    assert room.refused == 1


async def test_who_waits_for_too_long_is_refused_and_leaves_nothing() -> None:
    room = admission(sandboxes=1, wait_s=0.01)
    await room.enter("first", 1, "ann")
    with pytest.raises(Overloaded, match=r"within 0\.01 s"):
        await room.enter("second", 1, "ann")
    assert (room.waiting, room.held) == (0, 1)


async def test_who_gives_up_waiting_makes_way_even_when_it_was_just_let_in() -> None:
    room = admission(sandboxes=1)
    await room.enter("first", 1, "ann")
    order: list[str] = []
    second = await asked(room, "second", "ann", order)
    third = await asked(room, "third", "ann", order)
    room.leave("first")
    second.cancel()
    await third
    assert order == ["third"]
    assert room.held == 1


async def test_the_pool_comes_last() -> None:
    room = admission(starts=1)
    await room.enter("first", 1, "ann")
    order: list[str] = []
    spare = asyncio.get_running_loop().create_task(room.enter_last("spare", 1))
    second = await asked(room, "second", "ann", order)
    room.started("first")
    await second
    assert not spare.done()
    room.started("second")
    await spare
    assert room.held == 3


# --- memory -------------------------------------------------------------------------------------------


async def test_without_a_setting_all_but_a_fifth_of_the_engines_memory_is_given() -> None:
    room = admission(memory=None, engine=100 * MIB, queue=0)
    for number in range(8):
        await room.enter(str(number), 10 * MIB, "ann")
    with pytest.raises(Overloaded, match=r"`max_memory_bytes` is 80 MiB \(80 % of the engine's 100 MiB\)"):
        await room.enter("ninth", 10 * MIB, "ann")


async def test_one_sandbox_fits_up_to_the_whole_machine_and_then_nothing_else() -> None:
    room = admission(memory=None, engine=100 * MIB, queue=0)
    await room.enter("first", 100 * MIB, "ann")
    with pytest.raises(Overloaded):
        await room.enter("second", 1 * MIB, "ann")


@pytest.mark.parametrize(("memory", "words"), [(None, "80 % of the engine's 100 MiB"), (100 * MIB, "as it is set")])
async def test_a_sandbox_that_is_larger_than_the_machine_or_the_setting_is_refused_at_once(
    memory: int | None, words: str
) -> None:
    room = admission(memory=memory, engine=100 * MIB)
    for ask in (room.enter("large", 101 * MIB, "ann"), room.enter_last("large", 101 * MIB)):
        with pytest.raises(SandboxStartFailed, match=f"101 MiB .* 100 MiB: `max_memory_bytes` .*{words}"):
            await ask
    assert (room.waiting, room.held) == (0, 0)


# --- what a refusal says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "setting", "words"),
    [
        ({"sandboxes": 2}, "max_sandboxes", "`max_sandboxes` is 2, and there are 2"),
        (
            {"memory": 25 * MIB},
            "max_memory_bytes",
            (
                "`max_memory_bytes` is 25 MiB (as it is set), the memory limits of all sandboxes add up to 20 MiB, "
                "and one more has 10 MiB"
            ),
        ),
        ({"starts": 2}, "starts_at_once", "`starts_at_once` is 2, and 2 start now"),
    ],
    ids=["sandboxes", "memory", "starts"],
)
async def test_a_refusal_names_the_bound_that_was_hit_its_numbers_and_its_setting(
    bounds: dict[str, int], setting: str, words: str
) -> None:
    for more, why in ({"queue": 0}, "`admission_queue` is 0"), ({"wait_s": 0.01}, "within 0.01 s (`admission_wait_s`)"):
        room = admission(**{"memory": 1000 * MIB, **bounds, **more})  # type: ignore[arg-type]
        for name in ("a", "b"):
            await room.enter(name, 10 * MIB, "ann")
        with pytest.raises(Overloaded) as refused:
            await room.enter("c", 10 * MIB, "ann")
        assert words in refused.value.message
        assert why in refused.value.message
        assert f"raise `{setting}`" in (refused.value.suggested_fix or "")


async def test_who_waits_for_a_sandbox_that_nobody_needs_any_more_is_sent_away() -> None:
    room = admission(sandboxes=1)
    await room.enter("first", 1, "ann")
    order: list[str] = []
    second = await asked(room, "second", "ann", order)
    room.leave("second")
    with pytest.raises(Overloaded):
        await second
    assert (room.waiting, room.held) == (0, 1)


# --- through the manager ------------------------------------------------------------------------------


async def test_a_deleted_session_makes_room_for_one_that_waits(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, max_sandboxes=1))
    old = await manager.resolve("ann", "old", None)
    await (await manager.start(old, RunCode("echo"), timeout_s=5)).wait()
    new = await manager.start(await manager.resolve("ann", "new", None), RunCode("echo"), timeout_s=5)
    await manager.delete("ann", old.id)
    await new.wait()
    assert len(scripted.created) == 2


async def test_a_ready_sandbox_is_given_up_before_a_session_of_another_size_is_refused(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=1, max_sandboxes=1))
    await manager.pool.filled()
    sandbox, from_pool = await manager.supply.give("large", "ann")
    assert (sandbox.spec.size.name, from_pool) == ("large", False)
    assert scripted.removed == scripted.created[:1]


async def test_sessions_beyond_the_bound_are_refused_and_those_that_have_one_go_on(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, max_sandboxes=1, admission_queue=0))
    old = await manager.resolve("ann", "old", None)
    await (await manager.start(old, RunCode("echo"), timeout_s=5)).wait()
    refused = await manager.start(await manager.resolve("ann", "new", None), RunCode("echo"), timeout_s=5)
    with pytest.raises(Overloaded):
        await refused.wait()
    await (await manager.start(old, RunCode("echo"), timeout_s=5)).wait()
    assert manager.supply.admission.refused == 1


async def ran(manager: SessionManager, label: str) -> Execution:
    session = await manager.resolve("ann", label, None)
    execution = await manager.start(session, RunCode("echo"), timeout_s=5)
    await execution.wait()
    return execution


async def test_how_much_memory_there_is_is_asked_again_after_an_engine_that_did_not_answer(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    scripted.memory = GIB
    manager = await make_manager(scripted, SessionLimits(pool_size=0, admission_queue=0))
    scripted.broken = True
    with pytest.raises(EngineUnavailable):
        await ran(manager, "x")
    scripted.broken = False
    await ran(manager, "x")
    with pytest.raises(Overloaded, match="max_memory_bytes"):
        await ran(manager, "y")


async def test_a_paused_sandbox_counts_and_a_stopped_one_does_not(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    clock = ManualClock()
    limits = SessionLimits(pool_size=0, max_sandboxes=1, admission_queue=0)
    manager = await make_manager(scripted, limits, timers=clock)
    await ran(manager, "old")
    clock.advance(60)
    await until(lambda: dict(manager.states) == {"paused": 1})
    with pytest.raises(Overloaded, match="`max_sandboxes` is 1"):
        await ran(manager, "new")
    clock.advance(1740)
    await until(lambda: dict(manager.states) == {"stopped": 1})
    assert manager.supply.admission.held == 0
    await ran(manager, "new")


async def test_a_stopped_sandbox_waits_for_room_like_a_new_one_and_keeps_its_files_meanwhile(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    clock = ManualClock()
    limits = SessionLimits(pool_size=0, max_sandboxes=1, admission_wait_s=0.05)
    manager = await make_manager(scripted, limits, timers=clock)
    await ran(manager, "old")
    clock.advance(1800)
    await until(lambda: dict(manager.states) == {"stopped": 1})
    await ran(manager, "new")
    with pytest.raises(Overloaded, match="`max_sandboxes` is 1"):
        await ran(manager, "old")
    assert dict(manager.states) == {"stopped": 1, "live": 1}
    await manager.delete("ann", (await manager.resolve("ann", "new", None)).id)
    assert "files are kept" in ((await ran(manager, "old")).recreated or "")
    assert manager.supply.admission.held == 1


async def test_a_session_that_waits_for_room_to_be_woken_is_deleted_at_once(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    clock = ManualClock()
    manager = await make_manager(scripted, SessionLimits(pool_size=0, max_sandboxes=1), timers=clock)
    await ran(manager, "old")
    clock.advance(1800)
    await until(lambda: dict(manager.states) == {"stopped": 1})
    await ran(manager, "new")
    waiting = asyncio.create_task(ran(manager, "old"))
    await until(lambda: manager.supply.admission.waiting == 1)
    await manager.delete("ann", (await manager.resolve("ann", "old", None)).id)
    with pytest.raises(NotFound):
        await waiting
    assert (manager.supply.admission.waiting, len(scripted.boxes)) == (0, 1)
