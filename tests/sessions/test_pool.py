"""The pool over a scripted runtime."""

import asyncio

import pytest

from sandbox.pipe.messages import KernelState, RunCode
from sandbox.sessions.observer import NoObserver
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


class Counting(NoObserver):
    """Notes the pool's sizes and where sandboxes came from."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.from_pool: list[bool] = []
        self.failed = asyncio.Semaphore(0)

    def pool_size(self, ready: int) -> None:
        self.sizes.append(ready)

    def sandbox_started(self, seconds: float, *, from_pool: bool) -> None:
        self.from_pool.append(from_pool)

    def sandbox_start_failed(self) -> None:
        self.failed.release()


async def test_a_new_session_gets_a_sandbox_of_the_pool_and_the_pool_fills_up_again(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    observer = Counting()
    manager = await make_manager(scripted, SessionLimits(pool_size=2), observer=observer)
    await manager.pool.filled()
    ready = list(scripted.created)
    execution = await manager.start(await manager.resolve("ann", None, None), RunCode("echo"), timeout_s=5)
    await execution.wait()
    assert execution.sandbox_suffix == ready[0][-4:]
    assert observer.from_pool == [True]
    await manager.pool.filled()
    assert len(scripted.created) == 3
    assert observer.sizes == [0, 1, 2, 1, 2]


async def test_an_empty_pool_makes_nobody_wait_for_it(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    observer = Counting()
    manager = await make_manager(scripted, SessionLimits(pool_size=0), observer=observer)
    execution = await manager.start(await manager.resolve("ann", None, None), RunCode("echo"), timeout_s=5)
    await execution.wait()
    assert observer.from_pool == [False]


async def test_a_pool_sandbox_that_goes_is_dropped_and_replaced(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=1))
    await manager.pool.filled()
    scripted.boxes[scripted.created[0]].end()
    assert manager.pool.claim() is None
    for _ in range(2):
        await scripted.creating.acquire()
    await manager.pool.filled()
    execution = await manager.start(await manager.resolve("ann", None, None), RunCode("echo"), timeout_s=5)
    await execution.wait()
    assert execution.sandbox_suffix == scripted.created[1][-4:]


async def test_each_size_has_its_own_pool(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=1, pool_sizes={"medium": 1}))
    for pool in manager.supply.pools.values():
        await pool.filled()
    sandbox, from_pool = await manager.supply.give("medium", "ann")
    assert (sandbox.spec.size.name, from_pool) == ("medium", True)
    sandbox, from_pool = await manager.supply.give("large", "ann")
    assert (sandbox.spec.size.name, from_pool) == ("large", False)
    assert len(manager.pool) == 1


async def test_the_pool_goes_on_after_the_engine_refused(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    scripted.refuse = True
    observer = Counting()
    manager = await make_manager(scripted, SessionLimits(pool_size=1, pool_retry_s=0.01), observer=observer)
    for _ in range(2):
        await observer.failed.acquire()
    scripted.refuse = False
    await manager.pool.filled()
    assert len(scripted.boxes) == 1


async def test_twelve_new_sessions_at_once_are_all_served_whatever_the_pool_holds(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=3))
    await manager.pool.filled()
    sessions = [await manager.resolve("ann", f"new {number}", None) for number in range(12)]
    executions = [await manager.start(session, RunCode("echo"), timeout_s=5) for session in sessions]
    for execution in executions:
        await execution.wait()
    assert len({execution.sandbox_suffix for execution in executions}) == 12


async def test_a_ready_sandbox_that_waited_for_too_long_is_replaced(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    limits = SessionLimits(pool_size=1, pool_max_age_s=0.01, pool_check_s=0.02)
    await make_manager(scripted, limits)
    for _ in range(2):
        await scripted.creating.acquire()
    await scripted.removing.acquire()
    assert scripted.removed == scripted.created[:1]


async def test_a_ready_sandbox_whose_kernel_is_not_idle_is_replaced(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=1, pool_check_s=0.02))
    await manager.pool.filled()
    scripted.boxes[scripted.created[0]].kernel = KernelState.DEAD
    await scripted.removing.acquire()
    await manager.pool.filled()
    sandbox, from_pool = await manager.supply.give("standard", "ann")
    assert from_pool
    assert sandbox.sandbox_id == scripted.created[1]


async def test_the_pool_does_not_refill_while_an_execution_runs(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=1, pool_quiet_s=0, pool_postpone_s=20))
    await manager.pool.filled()
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunCode("wait"), timeout_s=10)
    await scripted.started.acquire()
    other = await manager.start(await manager.resolve("ann", "other", None), RunCode("echo"), timeout_s=5)
    await other.wait()
    assert len(scripted.created) == 2
    execution.interrupt()
    await execution.wait()
    await manager.pool.filled()
    assert len(scripted.created) == 3


async def test_a_refill_under_way_goes_to_the_request_that_found_the_pool_empty(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    scripted.slow.clear()
    manager = await make_manager(scripted, SessionLimits(pool_size=1))
    await scripted.creating.acquire()
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunCode("echo"), timeout_s=5)
    scripted.slow.set()
    await execution.wait()
    assert execution.sandbox_suffix == scripted.created[0][-4:]


async def test_the_pool_is_renewed_when_the_image_changed_and_not_when_the_engine_did(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=2, pool_check_s=0.02))
    await manager.pool.filled()
    await scripted.checked.acquire()
    scripted.engine = "a newer engine"
    for _ in range(2):
        await scripted.checked.acquire()
    assert scripted.removed == []
    old = list(scripted.created)
    scripted.image = "a new one"
    for _ in old:
        await scripted.removing.acquire()
    await manager.pool.filled()
    assert scripted.removed == old
    assert len(scripted.created) == 4
