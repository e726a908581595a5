"""Results of executions that have ended: stored behind the answers, found again later, kept by sandboxes until then."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

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


class Desk:
    """A manager over a store that the test can break, and one session of it."""

    def __init__(self, manager: SessionManager, session: Session, scripted: ScriptedRuntime) -> None:
        self.manager = manager
        self.session = session
        self.scripted = scripted

    async def ended(self, body: RunCode | RunBash) -> Execution:
        """Run something to its end."""
        execution = await self.manager.start(self.session, body, timeout_s=10)
        await execution.ended()
        return execution

    async def stored(self) -> None:
        """Wait until all results are stored."""
        await self.manager._executions.results.written()

    async def unacknowledged(self) -> list[str]:
        """Give what agents keep when all acknowledgements have gone out: they ride on what is sent next."""
        await self.manager.restart_kernel(self.session)
        return [
            ending.id
            for box in self.scripted.boxes.values()
            for ending in box.agent.answerer._ledger.endings
            if ending.id.startswith("exe_")
        ]


MakeDesk = Callable[..., Awaitable[Desk]]


@pytest.fixture
def make_desk(make_manager: MakeManager, scripted: ScriptedRuntime, store: ScriptedStore) -> MakeDesk:
    """Make a manager with these limits and a session."""

    async def make(**limits: Any) -> Desk:
        manager = await make_manager(scripted, SessionLimits(pool_size=0, **limits), store=store)
        return Desk(manager, await manager.resolve("ann", None, None), scripted)

    return make


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    """One with the usual limits."""
    return await make_desk()


@pytest.fixture
async def forgetful(make_desk: MakeDesk) -> Desk:
    """One that has only the last execution in memory."""
    return await make_desk(executions_kept=1)


async def test_answers_do_not_wait_for_a_store_whose_writes_hang(desk: Desk, store: ScriptedStore) -> None:
    store.writes.clear()
    before = [await desk.ended(RunCode(f"echo {number}")) for number in range(3)]
    await store.writing.acquire()
    after = [await desk.ended(RunCode(f"echo {number}")) for number in range(3)]
    assert {execution.state for execution in before + after} == {ExecutionState.ENDED}
    assert await desk.manager.execution("ann", after[0].id) is after[0]
    assert await desk.manager.executions(desk.session) == (before + after)[::-1]
    assert desk.manager.results_waiting == 6
    store.writes.set()
    await desk.stored()
    assert (desk.manager.results_waiting, sum(store.batches)) == (0, 6)
    assert len(store.batches) <= 2


async def test_a_sandbox_keeps_an_ending_until_it_is_stored(desk: Desk, store: ScriptedStore) -> None:
    store.writes.clear()
    code, bash = await desk.ended(RunCode("echo")), await desk.ended(RunBash("echo"))
    refused = await desk.ended(RunCode("busy"))
    await store.writing.acquire()
    assert await desk.unacknowledged() == [code.id, bash.id, refused.id]
    store.writes.set()
    await desk.stored()
    assert await desk.unacknowledged() == []


async def test_an_ending_that_is_stored_while_the_pipe_is_cut_is_acknowledged_over_the_next_one(
    desk: Desk, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    store.writes.clear()
    await desk.ended(RunCode("echo"))
    await store.writing.acquire()
    link = scripted.boxes[scripted.created[0]].link
    assert link is not None
    link.close()
    store.writes.set()
    await desk.stored()
    assert (await run(desk.manager, desk.session, "echo again")).stdout.text == "again"
    assert len(await desk.unacknowledged()) == 1, "the last one is not stored yet"
    await desk.stored()
    assert await desk.unacknowledged() == []


async def test_what_memory_dropped_is_found_in_the_store_by_its_owner_only(forgetful: Desk) -> None:
    first = await forgetful.ended(RunBash("echo hello"))
    await forgetful.stored()
    last = await forgetful.ended(RunCode("echo"))
    found = await forgetful.manager.execution("ann", first.id)
    assert found is not first
    for name in ("id", "session_id", "owner", "kind", "created_at", "timeout_s", "state", "result", "sandbox_suffix"):
        assert getattr(found, name) == getattr(first, name)
    assert [execution.id for execution in await forgetful.manager.executions(forgetful.session)] == [last.id, first.id]
    with pytest.raises(NotFound):
        await forgetful.manager.execution("bob", first.id)
    found.interrupt()
    assert (await found.wait()).stdout.text == "hello"


@pytest.mark.parametrize("text", ["exe_", "exe_0123456789abcdef", "exe_\x00", "exe_\ud800", "", "trs_1"])
async def test_what_never_was_is_not_found(make_manager: MakeManager, scripted: ScriptedRuntime, text: str) -> None:
    manager = await make_manager(scripted)
    with pytest.raises(NotFound):
        await manager.execution("ann", text)


async def test_events_of_a_stored_execution_are_its_last_one_under_its_number(forgetful: Desk) -> None:
    first = await forgetful.ended(RunCode("flood 5"))
    await forgetful.stored()
    await forgetful.ended(RunCode("echo"))
    found = await forgetful.manager.execution("ann", first.id)
    events = [(event.seq, type(event.body)) async for event in found.follow()]
    assert events == [(6, LiveCut), (7, CodeResult)]
    assert [event.seq async for event in found.follow(6)] == [7]
    assert [event.seq async for event in found.follow(7)] == []


async def test_why_an_execution_could_not_run_is_stored_too(forgetful: Desk, scripted: ScriptedRuntime) -> None:
    scripted.broken = True
    first = await forgetful.ended(RunCode("echo"))
    scripted.broken = False
    await forgetful.stored()
    await forgetful.ended(RunCode("echo"))
    found = await forgetful.manager.execution("ann", first.id)
    assert found is not first
    with pytest.raises(WorkbenchError) as caught:
        await found.wait()
    assert isinstance(first.error, EngineUnavailable)
    names = ("slug", "code", "status", "message", "suggested_fix")
    assert [getattr(caught.value, name) for name in names] == [getattr(first.error, name) for name in names]


async def test_results_wait_for_a_store_that_is_away_and_are_stored_when_it_is_back(
    forgetful: Desk, store: ScriptedStore
) -> None:
    store.broken = True
    execution = await forgetful.ended(RunCode("echo kept"))
    await store.writing.acquire()
    assert await forgetful.unacknowledged() == [execution.id]
    store.broken = False
    await forgetful.stored()
    assert await store.execution("ann", execution.id) is not None
    assert await forgetful.unacknowledged() == []


async def test_what_waits_for_a_store_that_is_away_is_bounded_and_the_sandbox_keeps_the_rest(
    make_desk: MakeDesk, store: ScriptedStore
) -> None:
    desk = await make_desk(executions_kept=3)
    store.broken = True
    made = [await desk.ended(RunCode("echo")) for _ in range(5)]
    assert desk.manager.results_waiting == 3
    store.broken = False
    await desk.stored()
    assert [record.id for record in await store.executions(desk.session.id)] == [each.id for each in made[:1:-1]]
    assert await desk.unacknowledged() == [each.id for each in made[:2]]


async def test_a_store_that_does_not_answer_is_no_proof_that_there_was_nothing(desk: Desk, tmp_path: Path) -> None:
    execution = await desk.ended(RunCode("echo"))
    away = (tmp_path / "workbench.db").rename(tmp_path / "away.db")
    assert await desk.manager.execution("ann", execution.id) is execution
    for asked in (desk.manager.execution("ann", "exe_0123456789abcdef"), desk.manager.executions(desk.session)):
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
    desk: Desk, scripted: ScriptedRuntime, store: ScriptedStore
) -> None:
    broken = await running(desk.manager, scripted, desk.session, "wait")
    scripted.boxes[scripted.created[0]].end(detail="half a pair: \ud800")
    await broken.ended()
    # This one is told in its words why its sandbox is a new one.
    other = await desk.ended(RunCode("echo"))
    await desk.stored()
    assert await store.execution("ann", broken.id) is None
    record = await store.execution("ann", other.id)
    assert record is not None
    assert "half a pair: ?" in (record.recreated or "")


async def test_a_deleted_session_leaves_no_results(desk: Desk, scripted: ScriptedRuntime, store: ScriptedStore) -> None:
    before = await desk.ended(RunCode("echo"))
    await desk.stored()
    waiting = await desk.ended(RunCode("echo"))
    execution = await running(desk.manager, scripted, desk.session, "wait")
    await desk.manager.delete("ann", desk.session.id)
    await execution.ended()
    await desk.stored()
    for each in (before, waiting):
        with pytest.raises(NotFound):
            await desk.manager.execution("ann", each.id)
    assert await store.execution("ann", execution.id) is None


async def test_results_that_may_not_be_stored_are_not(make_desk: MakeDesk, store: ScriptedStore) -> None:
    desk = await make_desk(results_age_s=0)
    execution = await desk.ended(RunCode("echo"))
    assert await desk.manager.execution("ann", execution.id) is execution
    assert await desk.unacknowledged() == []
    await desk.manager.aclose()
    assert store.batches == []


async def test_what_is_too_old_is_swept_out_of_the_store(make_desk: MakeDesk, store: ScriptedStore) -> None:
    desk = await make_desk(executions_kept=1, results_age_s=0.01, results_sweep_s=0.01)
    execution = await desk.ended(RunCode("echo"))
    await desk.stored()
    while await store.execution("ann", execution.id) is not None:
        pass


async def test_a_controller_that_stops_stores_what_waits(desk: Desk, make_manager: MakeManager) -> None:
    execution = await desk.ended(RunCode("echo"))
    await desk.manager.aclose()
    again = await make_manager(ScriptedRuntime())
    assert (await again.execution("ann", execution.id)).result == execution.result


async def test_a_controller_that_stops_tries_a_store_that_is_away_only_once_more(
    make_desk: MakeDesk, store: ScriptedStore
) -> None:
    desk = await make_desk(shutdown_grace_s=1000)
    store.broken = True
    await desk.ended(RunCode("echo"))
    await store.writing.acquire()
    await desk.manager.aclose()
    await store.writing.acquire()
    assert store.writing.locked()
