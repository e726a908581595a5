"""The manager over a scripted runtime: what is asked at once, what goes wrong on the way, what is kept."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.errors import (
    CallFault,
    EngineUnavailable,
    InvalidArguments,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    SandboxStartFailed,
    StoreUnavailable,
)
from sandbox.limits import SOURCE_MAX_BYTES
from sandbox.pipe.messages import Action, BashResult, CodeResult, Ending, LiveCut, LiveOutput, RunBash, RunCode, Started
from sandbox.runtimes.base import SIZES, Condition, SandboxSpec
from sandbox.sessions.execution import Execution, ExecutionState
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from tests.sessions.conftest import MakeManager
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


async def run(manager: SessionManager, session: Session, code: str) -> CodeResult:
    execution = await manager.start(session, RunCode(code), timeout_s=10)
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    return result


async def running(manager: SessionManager, scripted: ScriptedRuntime, session: Session, code: str) -> Execution:
    """Begin an execution and wait until the agent runs it."""
    execution = await manager.start(session, RunCode(code), timeout_s=10)
    await scripted.started.acquire()
    return execution


# --- which session ----------------------------------------------------------------------------------------


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


# --- executions -------------------------------------------------------------------------------------------


async def test_an_execution_says_what_it_was_and_can_be_asked_for(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunBash("echo hello"), timeout_s=7)
    result = await execution.wait()
    assert isinstance(result, BashResult)
    assert (result.ending, result.stdout.text) == (Ending.COMPLETED, "hello")
    assert (execution.kind, execution.state, execution.timeout_s) == ("bash", ExecutionState.ENDED, 7)
    assert (execution.session_id, execution.recreated) == (session.id, None)
    assert manager.execution("ann", execution.id) is execution
    with pytest.raises(NotFound):
        manager.execution("bob", execution.id)
    later = await manager.start(session, RunCode("echo"), timeout_s=7)
    assert manager.executions(session) == [later, execution]


async def test_ended_executions_are_dropped_oldest_first_and_running_ones_never(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    limits = SessionLimits(pool_size=0, executions_per_session=3, executions_kept=4)
    manager = await make_manager(scripted, limits)
    session, other = await manager.resolve("ann", "a", None), await manager.resolve("ann", "b", None)
    waiting = await running(manager, scripted, session, "wait")
    ended = []
    for which in (session,) * 5 + (other,) * 3:
        execution = await manager.start(which, RunCode("echo"), timeout_s=5)
        await execution.wait()
        ended.append(execution)
    assert manager.executions(session) == [ended[4], waiting]
    assert manager.executions(other) == [ended[7], ended[6], ended[5]]
    with pytest.raises(NotFound):
        manager.execution("ann", ended[0].id)
    waiting.interrupt()
    assert (await waiting.wait()).ending is Ending.INTERRUPTED


async def test_ended_executions_are_bounded_by_their_characters_too(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, kept_chars=30_000))
    session = await manager.resolve("ann", None, None)
    for _ in range(5):
        await run(manager, session, "echo " + "x" * 10_000)
    assert len(manager.executions(session)) == 1


async def test_a_caller_who_leaves_does_not_end_the_execution(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    execution = await running(manager, scripted, await manager.resolve("ann", None, None), "wait")
    caller = asyncio.create_task(execution.wait())
    await asyncio.wait({caller}, timeout=0)
    caller.cancel()
    await asyncio.wait({caller})
    assert execution.state is ExecutionState.RUNNING
    execution.interrupt()
    assert (await execution.wait()).ending is Ending.INTERRUPTED


async def test_interrupting_a_session_ends_all_that_runs_in_it_and_nothing_else(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session, other = await manager.resolve("ann", "a", None), await manager.resolve("ann", "b", None)
    mine = [await running(manager, scripted, session, "wait") for _ in range(3)]
    others = await running(manager, scripted, other, "wait")
    assert await manager.interrupt(session) == 3
    for execution in mine:
        assert (await execution.wait()).ending is Ending.INTERRUPTED
    assert others.state is ExecutionState.RUNNING
    assert await manager.interrupt(session) == 0


async def test_interrupted_while_it_waits_for_a_sandbox_it_never_starts_and_the_next_one_does(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    scripted.slow.clear()
    execution = await manager.start(session, RunCode("echo never"), timeout_s=5)
    await scripted.creating.acquire()
    execution.interrupt()
    result = await execution.wait()
    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.NOT_STARTED)
    scripted.slow.set()
    assert (await run(manager, session, "echo next")).stdout.text == "next"
    assert len(scripted.created) == 1


async def test_interrupted_before_its_task_began_it_never_starts(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    execution = await manager.start(await manager.resolve("ann", None, None), RunCode("wait"), timeout_s=5)
    execution.interrupt()
    assert (await execution.wait()).action is Action.NOT_STARTED
    assert scripted.created == []


async def test_a_source_too_long_for_a_line_arrives_whole(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    for text in ("x" * 3_000_000, "☃" * 600_000, "\x01" * 120_000):
        assert (await run(manager, session, "size " + text)).stdout.text == str(5 + len(text))
        execution = await manager.start(session, RunBash("size " + text), timeout_s=5)
        assert (await execution.wait()).stdout.text == str(5 + len(text))
    assert scripted.boxes[scripted.created[0]].files == {}


async def test_a_source_that_cannot_be_sent_is_refused_at_once(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    with pytest.raises(PayloadTooLarge):
        await manager.start(session, RunCode("x" * (SOURCE_MAX_BYTES + 1)), timeout_s=5)
    with pytest.raises(InvalidArguments, match="half a surrogate pair"):
        await manager.start(session, RunBash("echo \ud83d"), timeout_s=5)
    assert manager.executions(session) == []


async def test_a_sandbox_with_too_much_to_do_refuses_and_lives_on(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunCode("busy"), timeout_s=5)
    with pytest.raises(Overloaded, match="queue is full"):
        await execution.wait()
    assert (await run(manager, session, "echo on")).stdout.text == "on"
    assert len(scripted.created) == 1


# --- live output --------------------------------------------------------------------------------------------


async def test_any_number_follow_an_execution_and_resume_where_they_left(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    execution = await running(manager, scripted, await manager.resolve("ann", None, None), "wait")

    async def follow(after: int) -> list[tuple[int, type]]:
        return [(event.seq, type(event.body)) async for event in execution.follow(after)]

    early = [asyncio.create_task(follow(0)) for _ in range(2)]
    await asyncio.wait(early, timeout=0)
    execution.interrupt()
    await execution.wait()
    expected = [(1, Started), (2, CodeResult)]
    assert [await task for task in early] == [expected, expected]
    assert await follow(0) == expected
    assert await follow(1) == expected[1:]
    assert await follow(2) == []
    assert await follow(99) == []


async def test_a_follower_who_comes_too_late_hears_that_something_is_missing(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, live_chars=10_000))
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunCode("flood 500"), timeout_s=5)
    await execution.wait()
    events = [event async for event in execution.follow()]
    assert isinstance(events[0].body, LiveCut)
    assert [event.seq for event in events] == list(range(events[0].seq, 503))
    assert {type(event.body) for event in events[1:-1]} == {LiveOutput}
    assert isinstance(events[-1].body, CodeResult)
    assert [event async for event in execution.follow(events[0].seq)] == events[1:]


# --- sandboxes that go --------------------------------------------------------------------------------------


async def test_a_sandbox_that_goes_ends_what_runs_and_the_next_request_hears_what_was_lost(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    code = await running(manager, scripted, session, "wait")
    bash = await manager.start(session, RunBash("wait"), timeout_s=5)
    await scripted.started.acquire()
    scripted.boxes[scripted.created[0]].end(detail="out of memory")
    result = await code.wait()
    assert isinstance(result, CodeResult)
    assert (result.ending, result.variables_kept, result.files_kept) == (Ending.SANDBOX_GONE, False, False)
    assert "out of memory" in (result.note or "")
    assert (await bash.wait()).ending is Ending.SANDBOX_GONE

    following = await manager.start(session, RunCode("echo new"), timeout_s=5)
    assert (await following.wait()).ending is Ending.COMPLETED
    assert following.recreated is not None
    assert "out of memory" in following.recreated
    assert following.sandbox_suffix == scripted.created[1][-4:] != code.sandbox_suffix
    assert scripted.removed == scripted.created[:1]
    third = await manager.start(session, RunCode("echo"), timeout_s=5)
    await third.wait()
    assert third.recreated is None


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition.GONE, "removed from outside"),
        (Condition.PAUSED, "paused from outside"),
        (Condition.EXITED, "ended by itself or was stopped"),
    ],
)
async def test_the_cause_is_what_the_engine_says(
    make_manager: MakeManager, scripted: ScriptedRuntime, condition: Condition, words: str
) -> None:
    manager = await make_manager(scripted)
    execution = await running(manager, scripted, await manager.resolve("ann", None, None), "wait")
    scripted.boxes[scripted.created[0]].end(condition)
    assert words in ((await execution.wait()).note or "")


async def test_asked_while_the_old_one_is_removed_there_is_one_new_sandbox_after_it(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    await run(manager, session, "echo")
    scripted.removals.clear()
    scripted.boxes[scripted.created[0]].end()
    waiting = [await manager.start(session, RunCode("echo hi"), timeout_s=5) for _ in range(3)]
    await scripted.removing.acquire()
    assert len(scripted.created) == 1
    scripted.removals.set()
    assert [(await execution.wait()).stdout.text for execution in waiting] == ["hi"] * 3
    assert len(scripted.created) == 2


@pytest.mark.parametrize("code", ["die", "liar"])
async def test_an_agent_that_breaks_off_or_lies_is_a_sandbox_gone(
    make_manager: MakeManager, scripted: ScriptedRuntime, code: str
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    assert (await run(manager, session, code)).ending is Ending.SANDBOX_GONE
    assert (await run(manager, session, "echo on")).stdout.text == "on"
    assert len(scripted.created) == 2


async def test_an_agent_that_is_silent_past_the_deadline_is_taken_for_dead(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, silence_s=0.1))
    session = await manager.resolve("ann", None, None)
    for body in (RunCode("deaf"), RunBash("deaf")):
        execution = await manager.start(session, body, timeout_s=0.1)
        result = await execution.wait()
        assert result.ending is Ending.SANDBOX_GONE
        assert "did not end" in (result.note or "")
    assert (await run(manager, session, "echo on")).stdout.text == "on"
    assert scripted.removed == scripted.created[:2]


async def test_an_agent_that_does_not_carry_out_an_interrupt_is_taken_for_dead(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    # The grace of an interrupt is 3 s by contract; a negative slack makes the whole wait a tenth of a second.
    manager = await make_manager(scripted, SessionLimits(pool_size=0, silence_s=-2.9))
    session = await manager.resolve("ann", None, None)
    execution = await running(manager, scripted, session, "deaf")
    execution.interrupt()
    assert (await execution.wait()).ending is Ending.SANDBOX_GONE


# --- starts that fail ---------------------------------------------------------------------------------------


async def test_an_agent_that_never_gets_ready_fails_at_the_deadline_with_its_last_words(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, boot_deadline_s=0.2))
    session = await manager.resolve("ann", None, None)
    scripted.kernels_ready.clear()
    executions = [await manager.start(session, RunCode("echo"), timeout_s=5) for _ in range(3)]
    for execution in executions:
        with pytest.raises(SandboxStartFailed, match="farewell from the agent"):
            await execution.wait()
        with pytest.raises(SandboxStartFailed):
            [event async for event in execution.follow()]
    assert scripted.removed == scripted.created
    scripted.kernels_ready.set()
    assert (await run(manager, session, "echo better")).stdout.text == "better"


async def test_an_engine_that_refuses_or_is_gone_is_told_as_such(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    scripted.refuse = True
    with pytest.raises(SandboxStartFailed, match="refuses"):
        await run(manager, session, "echo")
    scripted.refuse, scripted.broken = False, True
    with pytest.raises(EngineUnavailable):
        await run(manager, session, "echo")
    scripted.broken = False
    assert (await run(manager, session, "echo back")).stdout.text == "back"


# --- deletion -----------------------------------------------------------------------------------------------


async def test_a_deleted_session_is_gone_with_its_sandbox_and_its_label_makes_a_new_one(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", "x", None)
    execution = await running(manager, scripted, session, "wait")
    await manager.delete("ann", session.id)
    result = await execution.wait()
    assert (result.ending, result.note) == (Ending.SANDBOX_GONE, "the session was deleted")
    assert scripted.boxes == {}
    with pytest.raises(NotFound):
        await manager.get("ann", session.id)
    with pytest.raises(NotFound):
        await manager.start(session, RunCode("echo"), timeout_s=5)
    with pytest.raises(NotFound):
        await manager.delete("ann", session.id)
    assert (await manager.resolve("ann", "x", None)).id != session.id


async def test_deleted_while_its_sandbox_starts_nothing_half_made_is_left(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", "x", None)
    scripted.kernels_ready.clear()
    execution = await manager.start(session, RunCode("echo"), timeout_s=5)
    await scripted.creating.acquire()
    await manager.delete("ann", session.id)
    with pytest.raises(NotFound, match="deleted"):
        await execution.wait()
    assert scripted.boxes == {}


async def test_deleted_while_an_engine_does_not_answer_it_is_deleted_all_the_same(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", "x", None)
    await run(manager, session, "echo")
    scripted.broken = True
    await manager.delete("ann", session.id)
    with pytest.raises(NotFound):
        await manager.get("ann", session.id)
    scripted.broken = False


# --- status and kernel --------------------------------------------------------------------------------------


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


# --- the store ----------------------------------------------------------------------------------------------


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


# --- the beginning and the end ------------------------------------------------------------------------------


async def test_leftovers_of_this_installation_are_removed_at_the_start_and_no_others(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    for sandbox_id, installation in (("mine", "here"), ("alsomine", "here"), ("foreign", "there")):
        await scripted.create(SandboxSpec(sandbox_id, installation, SIZES["standard"]))
    await make_manager(scripted)
    assert set(scripted.boxes) == {"foreign"}


async def test_an_engine_that_is_gone_at_the_start_does_not_keep_the_controller_from_starting(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    scripted.broken = True
    manager = await make_manager(scripted)
    scripted.broken = False
    assert (await run(manager, await manager.resolve("ann", None, None), "echo hi")).stdout.text == "hi"


async def test_closing_interrupts_what_runs_and_leaves_nothing(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    before = asyncio.all_tasks()
    manager = await make_manager(scripted, SessionLimits(pool_size=1))
    await manager.pool.filled()
    session = await manager.resolve("ann", None, None)
    execution = await running(manager, scripted, session, "wait")
    await manager.aclose()
    assert (await execution.wait()).ending is Ending.INTERRUPTED
    assert scripted.boxes == {}
    assert scripted.closed
    assert asyncio.all_tasks() == before
    with pytest.raises(Overloaded):
        await manager.start(session, RunCode("echo"), timeout_s=5)


async def test_closing_does_not_wait_for_an_execution_that_ignores_its_interrupt(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, shutdown_grace_s=0.05))
    execution = await running(manager, scripted, await manager.resolve("ann", None, None), "deaf")
    await manager.aclose()
    result = await execution.wait()
    assert (result.ending, result.note) == (Ending.SANDBOX_GONE, "the controller was shut down")
    assert scripted.boxes == {}


async def test_closing_while_a_sandbox_starts_leaves_nothing(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=2))
    scripted.kernels_ready.clear()
    execution = await manager.start(await manager.resolve("ann", None, None), RunCode("echo"), timeout_s=5)
    await scripted.creating.acquire()
    await manager.aclose()
    assert (await execution.wait()).ending is Ending.INTERRUPTED
    assert scripted.boxes == {}


async def test_after_a_restart_a_used_session_is_the_same_and_hears_that_its_sandbox_went(
    make_manager: MakeManager, tmp_path: Path
) -> None:
    first = await make_manager(ScriptedRuntime())
    used, unused = await first.resolve("ann", "used", None), await first.resolve("ann", "unused", None)
    await run(first, used, "echo")
    await first.aclose()
    second = await make_manager(ScriptedRuntime())
    again = await second.resolve("ann", "used", None)
    assert again.id == used.id
    execution = await second.start(again, RunCode("echo"), timeout_s=5)
    await execution.wait()
    assert "are lost" in (execution.recreated or "")
    fresh = await second.start(await second.get("ann", unused.id), RunCode("echo"), timeout_s=5)
    await fresh.wait()
    assert fresh.recreated is None


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


async def test_a_refusal_of_the_agent_is_passed_on(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    await run(manager, session, "echo")
    live = manager._places[session.id].live
    assert live is not None
    scripted.boxes[scripted.created[0]].files.clear()
    execution = await manager.start(session, RunCode(code_path="/gone"), timeout_s=5)
    with pytest.raises(CallFault) as caught:
        await execution.wait()
    assert caught.value.fault == "internal"
