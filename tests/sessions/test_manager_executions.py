"""The manager over a scripted runtime: executions, from their request to their end, and who follows them."""

import asyncio

import pytest

from sandbox.errors import (
    CallFault,
    InvalidArguments,
    NotFound,
    Overloaded,
    PayloadTooLarge,
)
from sandbox.limits import SOURCE_MAX_BYTES
from sandbox.pipe.messages import Action, BashResult, CodeResult, Ending, LiveCut, LiveOutput, RunBash, RunCode, Started
from sandbox.sessions.execution import ExecutionState
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.running import run, running
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


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
    assert await manager.execution("ann", execution.id) is execution
    with pytest.raises(NotFound):
        await manager.execution("bob", execution.id)
    later = await manager.start(session, RunCode("echo"), timeout_s=7)
    assert await manager.executions(session) == [later, execution]


async def test_in_memory_ended_executions_are_dropped_oldest_first_and_running_ones_never(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    limits = SessionLimits(pool_size=0, executions_per_session=3, executions_kept=4, results_age_s=0)
    manager = await make_manager(scripted, limits)
    session, other = await manager.resolve("ann", "a", None), await manager.resolve("ann", "b", None)
    waiting = await running(manager, scripted, session, "wait")
    ended = []
    for which in (session,) * 5 + (other,) * 3:
        execution = await manager.start(which, RunCode("echo"), timeout_s=5)
        await execution.wait()
        ended.append(execution)
    assert await manager.executions(session) == [ended[4], waiting]
    assert await manager.executions(other) == [ended[7], ended[6], ended[5]]
    with pytest.raises(NotFound):
        await manager.execution("ann", ended[0].id)
    waiting.interrupt()
    assert (await waiting.wait()).ending is Ending.INTERRUPTED


async def test_in_memory_ended_executions_are_bounded_by_their_characters_too(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, kept_chars=30_000, results_age_s=0))
    session = await manager.resolve("ann", None, None)
    for _ in range(5):
        await run(manager, session, "echo " + "x" * 10_000)
    assert len(await manager.executions(session)) == 1


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
    assert await manager.executions(session) == []


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


async def test_a_refusal_of_the_agent_is_passed_on(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted)
    session = await manager.resolve("ann", None, None)
    await run(manager, session, "echo")
    scripted.boxes[scripted.created[0]].files.clear()
    execution = await manager.start(session, RunCode(code_path="/gone"), timeout_s=5)
    with pytest.raises(CallFault) as caught:
        await execution.wait()
    assert caught.value.fault == "internal"


# --- live output ----------------------------------------------------------------------------------------


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
