"""The manager over a scripted runtime: which session a request means, how it is, what the store has of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.errors import (
    NotFound,
    StoreUnavailable,
)
from sandbox.pipe.messages import Ending, RunCode
from sandbox.sessions.execution import Execution
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.store_sql import SqlStore
from tests.sessions.conftest import MakeManager
from tests.support.running import run, running
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


async def test_fifty_requests_for_a_new_label_make_one_session_and_one_sandbox(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)

    async def request() -> Execution:
        session = await manager.resolve("ann", "new", None)
        execution = await manager.start(session, RunCode("echo hi"), timeout_s=10)
        await execution.wait()
        return execution

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(request()) for _ in range(50)]
    assert len({task.result().session_id for task in tasks}) == 1
    assert len(scripted.created) == 1
    assert {task.result().sandbox_suffix for task in tasks} == {scripted.created[0][-4:]}


async def test_the_same_label_from_two_owners_is_two_sessions_and_two_sandboxes(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    ann, bob = await manager.resolve("ann", "x", None), await manager.resolve("bob", "x", None)
    assert ann.id != bob.id
    await run(manager, ann, "echo")
    await run(manager, bob, "echo")
    assert len(scripted.created) == 2


async def test_label_user_and_default_are_different_sessions(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    label = await manager.resolve("ann", "u1", None)
    user = await manager.resolve("ann", None, "u1")
    default = await manager.resolve("ann", None, None)
    also_default = await manager.resolve("ann", "", "")
    assert len({label.id, user.id, default.id}) == 3
    assert also_default == default
    assert await manager.resolve("ann", label.id, None) == label
    assert await manager.resolve("ann", "u1", "someone else") == label
    assert (label.label, user.user_id) == ("u1", "u1")


@pytest.mark.parametrize(
    "ref", ["a" * 5000, "nul\x00", "half \ud800", "../../etc/passwd", "ünï ☃", "\n", "💥" * 999, ":x"]
)
async def test_any_text_works_as_a_label(make_manager: MakeManager, scripted: ScriptedRuntime, ref: str) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", ref, None)
    assert await manager.resolve("ann", ref, None) == session
    assert (await manager.resolve("ann", ref + "x", None)).id != session.id
    assert (await manager.resolve("ann", None, ref)).id != session.id


async def test_an_unknown_or_foreign_session_id_is_not_found(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", "x", None)
    for owner, ref in (("ann", "trs_unknown"), ("bob", session.id), ("ann", "trs_\x00")):
        with pytest.raises(NotFound):
            await manager.resolve(owner, ref, None)
        with pytest.raises(NotFound):
            await manager.get(owner, ref)
        with pytest.raises(NotFound):
            await manager.delete(owner, ref)


async def test_sessions_are_found_again_when_memory_forgot_them(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, sessions_cached=2))
    made = [await manager.resolve("ann", f"label {number}", None) for number in range(6)]
    for number, session in enumerate(made):
        assert (await manager.resolve("ann", f"label {number}", None)).id == session.id
        await run(manager, session, "echo")
    assert {session.id for session in await manager.list("ann")} == {session.id for session in made}


async def test_the_use_of_a_session_is_noted_now_and_then(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    manager = await make_manager(scripted, clock=lambda: now)
    session = await manager.resolve("ann", None, None)
    await run(manager, session, "echo")
    noted = [(await manager.get("ann", session.id)).last_used_at]
    now += timedelta(seconds=30)
    await run(manager, session, "echo")
    noted.append((await manager.get("ann", session.id)).last_used_at)
    now += timedelta(seconds=31)
    await run(manager, session, "echo")
    noted.append((await manager.get("ann", session.id)).last_used_at)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert noted == [start, start, start + timedelta(seconds=61)]


# --- status and kernel ----------------------------------------------------------------------------------


async def test_the_status_is_the_sandboxs_own_or_none_without_one(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    assert await manager.status(session) is None
    await run(manager, session, "echo")
    status = await manager.status(session)
    assert status is not None
    assert (status.sandbox_id, status.size) == (scripted.created[0], "standard")
    assert (await manager.restart_kernel(session)).home == "/home/user"


# --- the store ------------------------------------------------------------------------------------------


async def test_a_locked_database_stops_new_sessions_and_nothing_that_runs(
    make_manager: MakeManager, scripted: ScriptedRuntime, tmp_path: Path
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db", deadline_s=0.4)
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", "old", None)
    execution = await running(manager, scripted, session, "wait")
    other = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    async with other._transaction(writes=True):
        with pytest.raises(StoreUnavailable, match="locked"):
            await manager.resolve("ann", "new", None)
        with pytest.raises(StoreUnavailable, match="locked"):
            await manager.delete("ann", session.id)
        assert (await run(manager, await manager.resolve("ann", "old", None), "echo on")).stdout.text == "on"
        execution.interrupt()
        assert (await execution.wait()).ending is Ending.INTERRUPTED
    await other.close()
    assert (await manager.resolve("ann", "new", None)).id != session.id


@pytest.mark.postgres
async def test_two_controllers_on_one_postgresql_agree_on_sessions(
    make_manager: MakeManager, postgres_database: str
) -> None:
    runtimes = [ScriptedRuntime(), ScriptedRuntime()]
    managers = [
        await make_manager(runtime, installation=f"host{number}", store=SqlStore(postgres_database))
        for number, runtime in enumerate(runtimes)
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(manager.resolve("ann", "new", None)) for manager in managers * 10]
    assert len({task.result().id for task in tasks}) == 1
    for ref in ("nul\x00", "half \ud800", "trs_\x00", "trs_\ud800"):
        if ref.startswith("trs_"):
            with pytest.raises(NotFound):
                await managers[0].resolve("ann", ref, None)
        else:
            assert (await managers[0].resolve("ann", ref, ref)).user_id is not None
