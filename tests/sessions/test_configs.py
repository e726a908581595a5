"""Configurations of sessions: their versions, and a sandbox that gets another size."""

import asyncio
from dataclasses import replace

import pytest

from sandbox.errors import Conflict, InvalidRequest, NotFound
from sandbox.limits import MIB
from sandbox.pipe.messages import RunCode
from sandbox.runtimes.base import SIZES
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import read_config
from sandbox.sessions.store_sql import SqlStore
from sandbox.tools.base import session_note
from tests.compat.requirements import promises
from tests.sessions.conftest import MakeManager
from tests.sessions.test_store import NOON, a_session
from tests.support.running import run, running
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = pytest.mark.anyio

GIB = 1024 * MIB


# --- the store ----------------------------------------------------------------------------------------


def following(session: Session, **config: object) -> Session:
    return replace(session, config=config, config_version=session.config_version + 1, updated_at=NOON)


async def test_a_new_configuration_takes_the_place_of_the_old_one_which_is_kept(store: SqlStore) -> None:
    first = await store.get_or_create(replace(a_session(), config={"toolkits": {"enable": ["a"]}}))
    second = replace(following(first, search={"enable": False}), sandbox_size="large")
    assert await store.replace_config(first, second)
    assert await store.get("ann", first.id) == second
    (kept,) = await store.earlier_configs(first.id, limit=10, before=None)
    assert (kept.version, kept.config, kept.ended_at) == (1, first.config, NOON)
    assert await store.count_earlier_configs(first.id) == 1


async def test_what_is_not_the_version_any_more_is_not_replaced(store: SqlStore) -> None:
    first = await store.get_or_create(a_session())
    assert await store.replace_config(first, following(first))
    assert not await store.replace_config(first, following(first, tags={"enable": ["x"]}))
    found = await store.get("ann", first.id)
    assert found is not None
    assert (found.config, found.config_version) == ({}, 2)


async def test_of_many_changes_at_once_one_is_made(store: SqlStore) -> None:
    first = await store.get_or_create(a_session())
    done = await asyncio.gather(*(store.replace_config(first, following(first, n=n)) for n in range(20)))
    assert sum(done) == 1
    assert await store.count_earlier_configs(first.id) == 1


async def test_versions_are_read_page_by_page_and_go_with_their_session(store: SqlStore) -> None:
    session = await store.get_or_create(a_session())
    for _ in range(5):
        session, old = following(session), session
        assert await store.replace_config(old, session)
    page = await store.earlier_configs(session.id, limit=2, before=None)
    assert [each.version for each in page] == [5, 4]
    assert [each.version for each in await store.earlier_configs(session.id, limit=9, before=4)] == [3, 2, 1]
    assert await store.delete("ann", session.id, NOON)
    assert await store.count_earlier_configs(session.id) == 0
    assert not await store.replace_config(session, following(session))


# --- the manager --------------------------------------------------------------------------------------


@pytest.fixture
async def manager(make_manager: MakeManager, scripted: ScriptedRuntime) -> SessionManager:
    return await make_manager(scripted)


async def test_a_session_has_the_configuration_and_the_size_that_it_was_made_with(manager: SessionManager) -> None:
    config = read_config({"workbench": {"sandbox_size": "large"}, "toolkits": ["a"]})
    session = await manager.create("ann", config=config)
    assert (session.sandbox_size, session.config_version) == ("large", 1)
    assert read_config(session.config) == config


async def test_a_change_counts_up_and_is_seen_by_who_asks_next(manager: SessionManager) -> None:
    session = await manager.create("ann", config=read_config({"toolkits": ["a"]}))
    changed = await manager.configs.change("ann", session.id, {"search": {"enable": False}}, expected_version=1)
    assert changed.config_version == 2
    assert await manager.get("ann", session.id) == changed
    assert read_config(changed.config) == read_config({"toolkits": ["a"], "search": {"enable": False}})


async def test_a_change_of_a_version_that_is_gone_is_a_conflict_that_names_both(manager: SessionManager) -> None:
    session = await manager.create("ann")
    await manager.configs.change("ann", session.id, {})
    with pytest.raises(Conflict, match="expected_config_version is 1.*has version 2"):
        await manager.configs.change("ann", session.id, {}, expected_version=1)


async def test_of_changes_of_one_version_at_once_exactly_one_wins(manager: SessionManager) -> None:
    session = await manager.create("ann")
    changes = (manager.configs.change("ann", session.id, {"tags": [f"t{n}"]}, expected_version=1) for n in range(20))
    done = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(each, Session) for each in done) == 1
    assert sum(isinstance(each, Conflict) for each in done) == 19


async def test_changes_that_expect_no_version_are_all_made(manager: SessionManager) -> None:
    session = await manager.create("ann")
    changes = (manager.configs.change("ann", session.id, {"experimental": {f"k{n}": n}}) for n in range(10))
    await asyncio.gather(*changes)
    now = await manager.get("ann", session.id)
    assert now.config["experimental"] == {f"k{n}": n for n in range(10)}
    assert now.config_version == 11
    assert (await manager.configs.earlier(now, limit=3, before=None)).total == 10


async def test_a_wrong_change_changes_nothing(manager: SessionManager) -> None:
    session = await manager.create("ann")
    with pytest.raises(InvalidRequest, match=r"^workbench\.sandbox_size"):
        await manager.configs.change("ann", session.id, {"workbench": {"sandbox_size": "huge"}})
    assert (await manager.get("ann", session.id)).config_version == 1


async def test_another_owners_and_a_deleted_session_are_not_found(manager: SessionManager) -> None:
    session = await manager.create("ann")
    with pytest.raises(NotFound):
        await manager.configs.change("bob", session.id, {})
    await manager.delete("ann", session.id)
    with pytest.raises(NotFound):
        await manager.configs.change("ann", session.id, {})


# --- another size -------------------------------------------------------------------------------------


async def resize(manager: SessionManager, session: Session, size: str | None) -> Session:
    return await manager.configs.change(session.owner, session.id, {"workbench": {"sandbox_size": size}})


async def told(manager: SessionManager, session: Session) -> str:
    """What the next answer says before the words on how to go on."""
    execution = await manager.start(session, RunCode("1"), timeout_s=10)
    await execution.wait()
    return session_note(execution).instructions.partition("Pass session_id")[0].strip()


@promises("CC-9.14", "CC-1.06")
async def test_a_live_sandbox_is_resized_in_place_and_the_next_answer_says_so(
    manager: SessionManager, scripted: ScriptedRuntime
) -> None:
    session = await manager.create("ann")
    assert await told(manager, session) == ""
    await resize(manager, session, "large")
    words = "The sandbox was resized in place from standard to large; variables and files are kept."
    assert await told(manager, session) == words
    assert await told(manager, session) == ""
    (box,) = scripted.boxes.values()
    assert (len(scripted.created), scripted.rests, box.resized) == (1, ["resize to large"], SIZES["large"])
    status = await manager.status(session)
    assert status is not None
    assert status.size == "large"


async def test_a_sandbox_that_is_not_made_yet_is_made_with_the_size_at_that_time(
    manager: SessionManager, scripted: ScriptedRuntime
) -> None:
    session = await manager.create("ann")
    await resize(manager, session, "medium")
    await run(manager, session, "1")
    (box,) = scripted.boxes.values()
    assert (box.spec.size.name, scripted.rests) == ("medium", [])


async def test_of_calls_at_once_one_resizes_and_says_so(manager: SessionManager, scripted: ScriptedRuntime) -> None:
    session = await manager.create("ann")
    await run(manager, session, "1")
    await resize(manager, session, "medium")
    words = await asyncio.gather(*(told(manager, session) for _ in range(10)))
    assert len([each for each in words if each]) == 1
    assert scripted.rests == ["resize to medium"]


async def test_what_runs_goes_on_while_its_sandbox_is_resized(
    manager: SessionManager, scripted: ScriptedRuntime
) -> None:
    session = await manager.create("ann")
    execution = await running(manager, scripted, session, "wait")
    await resize(manager, session, "large")
    assert "resized" in await told(manager, session)
    execution.interrupt()
    await execution.wait()


async def test_memory_is_counted_anew(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, max_memory_bytes=4 * GIB, admission_wait_s=0.01))
    first, second = await manager.create("ann"), await manager.create("ann")
    await run(manager, first, "1")
    await run(manager, second, "1")
    await resize(manager, first, "large")
    words = await told(manager, first)
    assert words.startswith("The sandbox still has size standard, not large: `max_memory_bytes` is 4,096 MiB")
    await manager.delete("ann", second.id)
    assert "resized" in await told(manager, first)
    await resize(manager, first, None)
    assert "from large to standard" in await told(manager, first)
    third = await manager.create("ann", config=read_config({"workbench": {"sandbox_size": "medium"}}))
    await run(manager, third, "1")


async def test_an_engine_that_refuses_costs_no_call(manager: SessionManager, scripted: ScriptedRuntime) -> None:
    session = await manager.create("ann")
    await run(manager, session, "1")
    scripted.refuse_rest.add("resize")
    await resize(manager, session, "large")
    words = await told(manager, session)
    assert "still has size standard, not large: the engine refuses to resize it" in words
    scripted.refuse_rest.clear()
    assert "was resized" in await told(manager, session)


async def test_memory_in_use_is_not_cut_off(manager: SessionManager, scripted: ScriptedRuntime) -> None:
    session = await manager.create("ann", config=read_config({"workbench": {"sandbox_size": "medium"}}))
    await run(manager, session, "1")
    (box,) = scripted.boxes.values()
    box.memory_bytes = 1000 * MIB
    await resize(manager, session, "standard")
    assert "1,000 MiB of memory are in use" in await told(manager, session)
    assert scripted.rests == []
    box.memory_bytes = 100 * MIB
    assert "was resized" in await told(manager, session)


async def test_a_runtime_without_limits_says_so_once(manager: SessionManager, scripted: ScriptedRuntime) -> None:
    scripted.has_limits = False
    session = await manager.create("ann")
    await run(manager, session, "1")
    await resize(manager, session, "large")
    assert "changes nothing" in await told(manager, session)
    assert await told(manager, session) == ""
