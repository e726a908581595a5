"""Results of executions that have ended: stored behind the answers, found again later, kept by sandboxes until then."""

from pathlib import Path

import pytest

from sandbox.errors import EngineUnavailable, NotFound, StoreUnavailable, WorkbenchError
from sandbox.pipe.messages import CodeResult, LiveCut, RunBash, RunCode
from sandbox.sessions.execution import Execution, ExecutionState
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from tests.sessions.conftest import MakeManager
from tests.support.running import run, running
from tests.support.scripted_runtime import ScriptedRuntime
from tests.support.scripted_store import ScriptedStore

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


@pytest.fixture
async def store(anyio_backend: str, tmp_path: Path) -> ScriptedStore:
    return ScriptedStore(tmp_path)


async def stored(manager: SessionManager) -> None:
    """Wait until all results are stored."""
    await manager._executions.results.written()


async def ended(manager: SessionManager, session: Session, body: RunCode | RunBash) -> Execution:
    execution = await manager.start(session, body, timeout_s=10)
    await execution.ended()
    return execution


def unacknowledged(scripted: ScriptedRuntime) -> list[str]:
    """Executions whose endings the agents still keep."""
    return [
        ending.id
        for box in scripted.boxes.values()
        for ending in box.agent.answerer._ledger.endings
        if ending.id.startswith("exe_")
    ]


async def told(scripted: ScriptedRuntime, manager: SessionManager, session: Session) -> list[str]:
    """Give what agents keep when all acknowledgements have gone out: they ride on what is sent next."""
    await manager.restart_kernel(session)
    return unacknowledged(scripted)


async def test_answers_do_not_wait_for_a_store_whose_writes_hang(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", None, None)
    store.writes.clear()
    before = [await ended(manager, session, RunCode(f"echo {number}")) for number in range(3)]
    await store.writing.acquire()
    after = [await ended(manager, session, RunCode(f"echo {number}")) for number in range(3)]
    assert {execution.state for execution in before + after} == {ExecutionState.ENDED}
    assert await manager.execution("ann", after[0].id) is after[0]
    assert await manager.executions(session) == (before + after)[::-1]
    assert manager.results_waiting == 6
    store.writes.set()
    await stored(manager)
    assert (manager.results_waiting, sum(store.batches)) == (0, 6)
    assert len(store.batches) <= 2


async def test_a_sandbox_keeps_an_ending_until_it_is_stored(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", None, None)
    store.writes.clear()
    code, bash = await ended(manager, session, RunCode("echo")), await ended(manager, session, RunBash("echo"))
    refused = await ended(manager, session, RunCode("busy"))
    await store.writing.acquire()
    assert await told(scripted, manager, session) == [code.id, bash.id, refused.id]
    store.writes.set()
    await stored(manager)
    assert await told(scripted, manager, session) == []


async def test_an_ending_that_is_stored_while_the_pipe_is_cut_is_acknowledged_over_the_next_one(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", None, None)
    store.writes.clear()
    await ended(manager, session, RunCode("echo"))
    await store.writing.acquire()
    link = scripted.boxes[scripted.created[0]].link
    assert link is not None
    link.close()
    store.writes.set()
    await stored(manager)
    assert (await run(manager, session, "echo again")).stdout.text == "again"
    assert len(await told(scripted, manager, session)) == 1, "the last one is not stored yet"
    await stored(manager)
    assert await told(scripted, manager, session) == []


async def test_what_memory_dropped_is_found_in_the_store_by_its_owner_only(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, executions_kept=1), store=store)
    session = await manager.resolve("ann", None, None)
    first = await ended(manager, session, RunBash("echo hello"))
    await stored(manager)
    last = await ended(manager, session, RunCode("echo"))
    found = await manager.execution("ann", first.id)
    assert found is not first
    for name in ("id", "session_id", "owner", "kind", "created_at", "timeout_s", "state", "result", "sandbox_suffix"):
        assert getattr(found, name) == getattr(first, name)
    assert [execution.id for execution in await manager.executions(session)] == [last.id, first.id]
    with pytest.raises(NotFound):
        await manager.execution("bob", first.id)
    found.interrupt()
    assert (await found.wait()).stdout.text == "hello"


@pytest.mark.parametrize("text", ["exe_", "exe_0123456789abcdef", "exe_\x00", "exe_\ud800", "", "trs_1"])
async def test_what_never_was_is_not_found(make_manager: MakeManager, scripted: ScriptedRuntime, text: str) -> None:
    manager = await make_manager(scripted)
    with pytest.raises(NotFound):
        await manager.execution("ann", text)


async def test_events_of_a_stored_execution_are_its_last_one_under_its_number(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, executions_kept=1), store=store)
    session = await manager.resolve("ann", None, None)
    first = await ended(manager, session, RunCode("flood 5"))
    await stored(manager)
    await ended(manager, session, RunCode("echo"))
    found = await manager.execution("ann", first.id)
    events = [(event.seq, type(event.body)) async for event in found.follow()]
    assert events == [(6, LiveCut), (7, CodeResult)]
    assert [event.seq async for event in found.follow(6)] == [7]
    assert [event.seq async for event in found.follow(7)] == []


async def test_why_an_execution_could_not_run_is_stored_too(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, executions_kept=1), store=store)
    session = await manager.resolve("ann", None, None)
    scripted.broken = True
    first = await ended(manager, session, RunCode("echo"))
    scripted.broken = False
    await stored(manager)
    await ended(manager, session, RunCode("echo"))
    found = await manager.execution("ann", first.id)
    assert found is not first
    with pytest.raises(WorkbenchError) as caught:
        await found.wait()
    assert isinstance(first.error, EngineUnavailable)
    names = ("slug", "code", "status", "message", "suggested_fix")
    assert [getattr(caught.value, name) for name in names] == [getattr(first.error, name) for name in names]


async def test_results_wait_for_a_store_that_is_away_and_are_stored_when_it_is_back(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, executions_kept=1), store=store)
    session = await manager.resolve("ann", None, None)
    store.broken = True
    execution = await ended(manager, session, RunCode("echo kept"))
    await store.writing.acquire()
    assert await told(scripted, manager, session) == [execution.id]
    store.broken = False
    await stored(manager)
    assert await store.execution("ann", execution.id) is not None
    assert await told(scripted, manager, session) == []


async def test_what_waits_for_a_store_that_is_away_is_bounded_and_the_sandbox_keeps_the_rest(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, executions_kept=3), store=store)
    session = await manager.resolve("ann", None, None)
    store.broken = True
    made = [await ended(manager, session, RunCode("echo")) for _ in range(5)]
    assert manager.results_waiting == 3
    store.broken = False
    await stored(manager)
    assert [record.id for record in await store.executions(session.id)] == [each.id for each in made[:1:-1]]
    assert await told(scripted, manager, session) == [each.id for each in made[:2]]


async def test_a_store_that_does_not_answer_is_no_proof_that_there_was_nothing(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore, tmp_path: Path
) -> None:
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", None, None)
    execution = await ended(manager, session, RunCode("echo"))
    away = (tmp_path / "workbench.db").rename(tmp_path / "away.db")
    assert await manager.execution("ann", execution.id) is execution
    for asked in (manager.execution("ann", "exe_0123456789abcdef"), manager.executions(session)):
        with pytest.raises(StoreUnavailable):
            await asked
    away.rename(tmp_path / "workbench.db")


async def test_an_engine_that_is_away_at_the_start_is_no_proof_that_there_was_nothing(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    scripted.broken = True
    manager = await make_manager(scripted)
    with pytest.raises(EngineUnavailable):
        await manager.execution("ann", "exe_0123456789abcdef")
    scripted.broken = False
    with pytest.raises(NotFound):
        await manager.execution("ann", "exe_0123456789abcdef")


async def test_a_result_that_no_database_can_hold_does_not_keep_others_out_of_it(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", None, None)
    broken = await running(manager, scripted, session, "wait")
    scripted.boxes[scripted.created[0]].end(detail="half a pair: \ud800")
    await broken.ended()
    # This one is told in its words why its sandbox is a new one.
    other = await ended(manager, session, RunCode("echo"))
    await stored(manager)
    assert await store.execution("ann", broken.id) is None
    record = await store.execution("ann", other.id)
    assert record is not None
    assert "half a pair: ?" in (record.recreated or "")


async def test_a_deleted_session_leaves_no_results(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, store=store)
    session = await manager.resolve("ann", None, None)
    before = await ended(manager, session, RunCode("echo"))
    await stored(manager)
    waiting = await ended(manager, session, RunCode("echo"))
    execution = await running(manager, scripted, session, "wait")
    await manager.delete("ann", session.id)
    await execution.ended()
    await stored(manager)
    for each in (before, waiting):
        with pytest.raises(NotFound):
            await manager.execution("ann", each.id)
    assert await store.execution("ann", execution.id) is None


async def test_results_that_may_not_be_stored_are_not(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, results_age_s=0), store=store)
    session = await manager.resolve("ann", None, None)
    execution = await ended(manager, session, RunCode("echo"))
    assert await manager.execution("ann", execution.id) is execution
    assert await told(scripted, manager, session) == []
    await manager.aclose()
    assert store.batches == []


async def test_what_is_too_old_is_swept_out_of_the_store(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    limits = SessionLimits(pool_size=0, executions_kept=1, results_age_s=0.01, results_sweep_s=0.01)
    manager = await make_manager(scripted, limits, store=store)
    session = await manager.resolve("ann", None, None)
    execution = await ended(manager, session, RunCode("echo"))
    await stored(manager)
    while await store.execution("ann", execution.id) is not None:
        pass


async def test_a_controller_that_stops_stores_what_waits(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, store=store)
    execution = await ended(manager, await manager.resolve("ann", None, None), RunCode("echo"))
    await manager.aclose()
    again = await make_manager(ScriptedRuntime())
    assert (await again.execution("ann", execution.id)).result == execution.result


async def test_a_controller_that_stops_tries_a_store_that_is_away_only_once_more(
    make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, shutdown_grace_s=1000), store=store)
    store.broken = True
    await ended(manager, await manager.resolve("ann", None, None), RunCode("echo"))
    await store.writing.acquire()
    await manager.aclose()
    await store.writing.acquire()
    assert store.writing.locked()
