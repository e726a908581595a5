"""Admission: the bounds on sandboxes and their starts, and the fair queue of those who wait."""

import asyncio

import pytest

from sandbox.errors import Overloaded
from sandbox.pipe.messages import RunCode
from sandbox.sessions.admission import Admission, Bounds
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


def admission(
    *, sandboxes: int = 10, memory: int | None = None, starts: int = 10, queue: int = 10, wait_s: float = 20
) -> Admission:
    return Admission(Bounds(sandboxes, memory, starts, queue, wait_s), lambda: None)


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
    assert (sandbox.size, from_pool) == ("large", False)
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
