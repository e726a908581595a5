"""One controller after another over the same scripted engine and database: what is found again, what is removed."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox import __version__
from sandbox.errors import EngineUnavailable, ExecutionGoesOn, Overloaded
from sandbox.pipe.frames import Survivor
from sandbox.pipe.messages import CodeResult, Ending, ExecutionKind, LiveOutput
from sandbox.runtimes.base import SIZES, Condition, Runtime, SandboxInfo, SandboxSpec
from sandbox.sessions.execution import Execution, ExecutionState
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from sandbox.sessions.survivors import SECONDS_MAX, checked
from sandbox.sessions.takeover import Fate, fate_of
from tests.sessions.conftest import MakeManager
from tests.support.clock import until
from tests.support.lasting import KEEP, Lasting, answer, ask
from tests.support.scripted_runtime import Box, ScriptedRuntime
from tests.support.scripted_store import ScriptedStore

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


async def left(make_manager: MakeManager, engine: Runtime) -> Session:
    """Have a session whose controller has gone and left its sandbox."""
    manager = await make_manager(engine, KEEP)
    session = await manager.resolve("ann", "work", None)
    await answer(manager, session)
    await manager.aclose()
    return session


async def test_what_runs_is_left_and_its_result_comes_to_the_next_controller(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    first = await make_manager(engine, KEEP)
    session = await first.resolve("ann", "work", None)
    execution = await ask(first, session, "wait")
    await scripted.started.acquire()
    await first.aclose()
    with pytest.raises(ExecutionGoesOn, match=execution.id):
        await execution.wait()

    second = await make_manager(engine, KEEP)
    again = await second.execution("ann", execution.id)
    assert (again.session_id, again.kind, again.timeout_s) == (session.id, "python", 10)
    assert await second.executions(session) == [again]
    seen = await anext(aiter(again.follow()))
    assert (seen.seq, again.state) == (1, ExecutionState.RUNNING)
    again.interrupt()
    result = await again.wait()
    assert isinstance(result, CodeResult)
    assert result.ending is Ending.INTERRUPTED
    follow_up = await answer(second, session)
    assert (follow_up.recreated, follow_up.sandbox_suffix) == (None, again.sandbox_suffix)
    assert len(scripted.created) == 1


async def test_what_ended_meanwhile_is_told_with_all_that_it_said(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    first = await make_manager(engine, KEEP)
    session = await first.resolve("ann", "work", None)
    execution = await ask(first, session, "flood 40")
    await scripted.started.acquire()
    first.stop_running()
    await first.aclose()
    second = await make_manager(engine, KEEP)
    again = await second.execution("ann", execution.id)
    events = [event async for event in again.follow()]
    assert [event.seq for event in events] == list(range(1, 43))
    assert [event.body.text for event in events if isinstance(event.body, LiveOutput)] == [
        f"{number:09} " for number in range(40)
    ]


async def test_a_result_that_could_not_be_stored_comes_to_the_next_controller_which_stores_it(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime, tmp_path: Path
) -> None:
    store = ScriptedStore(tmp_path)
    store.broken = True
    first = await make_manager(engine, KEEP, store=store)
    session = await first.resolve("ann", "work", None)
    execution = await answer(first, session, "echo kept")
    await first.aclose()

    second = await make_manager(engine, KEEP)
    again = await second.execution("ann", execution.id)
    assert await again.wait() == execution.result
    await second._executions.results.written()
    await second.aclose()
    scripted.boxes.clear()
    third = await make_manager(engine, KEEP)
    found = await third.execution("ann", execution.id)
    assert (found.result, found.last_event) == (execution.result, execution.last_event)


async def test_a_stream_that_follows_what_is_left_ends_without_an_ending(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(engine, KEEP)
    execution = await ask(manager, await manager.resolve("ann", None, None), "wait")
    await scripted.started.acquire()
    following = asyncio.ensure_future(_all(execution))
    await manager.aclose()
    assert [event.seq for event in await following] == [1]
    assert execution.state is ExecutionState.RUNNING


async def _all(execution: Execution) -> list[Any]:
    return [event async for event in execution.follow()]


async def test_an_execution_that_waits_for_a_sandbox_at_the_shutdown_is_refused_and_nothing_is_left_of_it(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(engine, KEEP)
    scripted.kernels_ready.clear()
    execution = await ask(manager, await manager.resolve("ann", None, None), "echo")
    await scripted.creating.acquire()
    await manager.aclose()
    with pytest.raises(Overloaded):
        await execution.wait()
    assert scripted.boxes == {}


async def test_the_pool_is_not_kept(make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(engine, replace(KEEP, pool_size=1))
    await manager.pool.filled()
    await answer(manager, await manager.resolve("ann", None, None))
    await manager.pool.filled()
    await manager.aclose()
    assert set(scripted.boxes) == {scripted.created[0]}


def _exited(box: Box) -> None:
    box.end(Condition.EXITED)


def _paused(box: Box) -> None:
    box.condition = Condition.PAUSED


def _other_version(box: Box) -> None:
    box.version = "0.0.1"


def _silent(box: Box) -> None:
    box.silent = True


async def test_a_paused_sandbox_is_resumed_and_nothing_is_lost(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    session = await left(make_manager, engine)
    _paused(scripted.boxes[scripted.created[0]])
    manager = await make_manager(engine, KEEP)
    assert (await answer(manager, session)).recreated is None
    assert (len(scripted.created), scripted.rests) == (1, ["resume"])


async def test_one_that_has_its_files_only_is_started_again_when_it_is_needed(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    session = await left(make_manager, engine)
    _exited(scripted.boxes[scripted.created[0]])
    manager = await make_manager(engine, KEEP)
    assert scripted.rests == []
    assert "iles are kept" in ((await answer(manager, session)).recreated or "")
    assert len(scripted.created) == 1


@pytest.mark.parametrize("spoil", [_other_version, _silent])
async def test_one_that_cannot_be_used_is_removed_and_the_session_is_told(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime, spoil: Callable[[Box], None]
) -> None:
    session = await left(make_manager, engine)
    spoil(scripted.boxes[scripted.created[0]])
    manager = await make_manager(engine, replace(KEEP, call_deadline_s=0.2))
    session = await manager.get("ann", session.id)
    assert "are lost" in ((await answer(manager, session)).recreated or "")
    await until(lambda: set(scripted.boxes) == {scripted.created[1]})


async def test_those_of_nobody_or_of_a_deleted_session_are_removed_and_those_of_others_are_not_touched(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime, tmp_path: Path
) -> None:
    session = await left(make_manager, engine)
    for sandbox_id, installation in (("nobodys", "here"), ("foreign", "there")):
        await scripted.create(SandboxSpec(sandbox_id, installation, SIZES["standard"]))
    other = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    assert await other.delete("ann", session.id, session.created_at)
    await make_manager(engine, KEEP)
    await until(lambda: set(scripted.boxes) == {"foreign"})
    await until_written(other)
    assert await other.claims("here") == []
    await other.close()


async def until_written(store: SqlStore) -> None:
    for _ in itertools.count():
        if not await store.claims("here"):
            return


async def test_an_engine_that_comes_back_later_gives_the_session_its_old_sandbox(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    session = await left(make_manager, engine)
    scripted.broken = True
    manager = await make_manager(engine, replace(KEEP, pool_size=1))
    with pytest.raises(EngineUnavailable):
        await (await ask(manager, session, "echo")).wait()
    scripted.broken = False
    execution = await answer(manager, session)
    assert (execution.recreated, execution.sandbox_suffix) == (None, scripted.created[0][-4:])
    await manager.pool.filled()
    assert len(scripted.created) == 2


async def test_an_engine_that_goes_away_in_the_middle_loses_nothing(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    session = await left(make_manager, engine)
    cast("Lasting", engine).refusals = 1
    manager = await make_manager(engine, KEEP)
    assert (await answer(manager, session)).recreated is None
    assert len(scripted.created) == 1


async def test_a_sandbox_that_the_engine_fails_at_again_and_again_does_not_stop_the_others(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    session = await left(make_manager, engine)
    cast("Lasting", engine).refusals = 1
    manager = await make_manager(engine, replace(KEEP, call_deadline_s=0.1))
    other = await manager.resolve("ann", "other", None)
    for _ in itertools.count():
        cast("Lasting", engine).refusals = 1
        with contextlib.suppress(EngineUnavailable):
            await answer(manager, other)
            break
    cast("Lasting", engine).refusals = 0
    session = await manager.get("ann", session.id)
    assert "are lost" in ((await answer(manager, session)).recreated or "")


async def test_a_claim_that_could_not_be_stored_is_stored_later(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime, tmp_path: Path
) -> None:
    manager = await make_manager(engine, KEEP, store=SqlStore(f"sqlite:///{tmp_path}/workbench.db", deadline_s=0.2))
    session = await manager.resolve("ann", "work", None)
    other = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    async with other._transaction(writes=True):
        await answer(manager, session)
    await other.close()
    await manager.aclose()
    assert (await answer(await make_manager(engine, KEEP), session)).recreated is None
    assert len(scripted.created) == 1


async def test_a_sandbox_that_the_session_lost_is_not_found_again(
    make_manager: MakeManager, engine: Runtime, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(engine, KEEP)
    session = await manager.resolve("ann", "work", None)
    await answer(manager, session)
    scripted.boxes[scripted.created[0]].end()
    await answer(manager, session)
    await manager.aclose()
    again = await make_manager(engine, KEEP)
    assert (await answer(again, session)).sandbox_suffix == scripted.created[1][-4:]


def test_what_becomes_of_a_sandbox_depends_on_its_condition_its_version_and_its_session() -> None:
    at = cast("Any", None)
    session = Session("trs_1", "ann", None, user_id=None, created_at=at, updated_at=at)

    def info(condition: Condition, *, size: str = "standard", version: str = __version__) -> SandboxInfo:
        return SandboxInfo("a", size, version, condition)

    assert [fate_of(info(condition), session) for condition in Condition] == [
        Fate.ADOPT,
        Fate.RESUME,
        Fate.ADOPT_STOPPED,
        Fate.REMOVE,
    ]
    running = Condition.RUNNING
    assert fate_of(info(running), None) is Fate.REMOVE
    assert fate_of(info(running, size="unheard of"), session) is Fate.REMOVE
    assert fate_of(info(running, version="0.0.1"), session) is Fate.REMOVE


def test_an_agent_is_believed_within_bounds_only() -> None:
    good = Survivor("exe_0123456789abcdef", ExecutionKind.BASH, 5.0, age_s=3.0, running_s=2.0)
    wild = Survivor("exe_fedcba9876543210", ExecutionKind.PYTHON, 1e300, queue_timeout_s=-1, age_s=-1e300)
    others = [Survivor(name, ExecutionKind.BASH, 1.0) for name in ("", "exe_", "exe_x", "trs_1", "exe_" + "0" * 99)]
    found = checked((good, good, wild, *others))
    assert found == (good, replace_times(wild))


def replace_times(wild: Survivor) -> Survivor:
    return Survivor(wild.id, wild.kind, SECONDS_MAX)
