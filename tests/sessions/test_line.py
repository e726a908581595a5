"""A pipe that is cut under a sandbox that lives on, over a scripted runtime."""

import pytest

from sandbox.pipe.messages import CodeResult, Ending, RunCode
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = pytest.mark.anyio


async def running(manager: SessionManager, scripted: ScriptedRuntime) -> Execution:
    """Start code that waits until it is interrupted."""
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunCode("wait"), timeout_s=60)
    await scripted.started.acquire()
    return execution


def cut(scripted: ScriptedRuntime) -> None:
    """Cut the pipe of the first sandbox, and nothing else."""
    link = scripted.boxes[scripted.created[0]].link
    assert link is not None
    link.close()


async def next_text(manager: SessionManager) -> str:
    session = await manager.resolve("ann", None, None)
    execution = await manager.start(session, RunCode("echo on"), timeout_s=5)
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    return result.stdout.text


async def test_what_runs_is_joined_over_the_new_pipe(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted)
    execution = await running(manager, scripted)
    for _ in range(3):
        cut(scripted)
        assert await next_text(manager) == "on"
    execution.interrupt()
    assert (await execution.wait()).ending is Ending.INTERRUPTED
    assert len(scripted.created) == 1


async def test_an_interrupt_while_there_is_no_pipe_is_said_again(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    execution = await running(manager, scripted)
    cut(scripted)
    execution.interrupt()
    assert (await execution.wait()).ending is Ending.INTERRUPTED


async def test_an_engine_that_is_away_for_too_long_costs_the_sandbox_which_is_removed_later(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, call_deadline_s=0.2))
    execution = await running(manager, scripted)
    scripted.broken = True
    cut(scripted)
    result = await execution.wait()
    assert result.ending is Ending.SANDBOX_GONE
    assert "could not be opened again" in (result.note or "")
    scripted.broken = False
    assert await next_text(manager) == "on"
    await scripted.removing.acquire()
    assert list(scripted.boxes) == scripted.created[1:]


async def test_code_that_was_not_sent_yet_gets_a_new_sandbox_instead_of_an_ending(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    manager = await make_manager(scripted)
    await next_text(manager)
    scripted.boxes[scripted.created[0]].end()
    assert await next_text(manager) == "on"
    assert len(scripted.created) == 2
