"""The manager over a scripted runtime: sandboxes that go or do not start, and sessions that are deleted."""

import pytest

from sandbox.errors import (
    EngineUnavailable,
    NotFound,
    SandboxStartFailed,
)
from sandbox.pipe.messages import CodeResult, Ending, RunBash, RunCode
from sandbox.runtimes.base import Condition
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.running import run, running
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


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


# --- starts that fail -----------------------------------------------------------------------------------


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


# --- deletion -------------------------------------------------------------------------------------------


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
