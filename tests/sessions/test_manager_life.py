"""The manager over a scripted runtime: how it begins, how it ends, and what the next one finds."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from sandbox.errors import NotFound, Overloaded, StoreUnavailable
from sandbox.pipe.messages import Ending, RunCode
from sandbox.runtimes.base import SIZES, SandboxSpec
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from tests.sessions.conftest import MakeManager
from tests.support.running import run, running
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


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


class SlowToSay(SqlStore):
    """Does what it is asked to, and says so only when `says` is set; `fails`: it says that it does not answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/workbench.db")
        self.says = asyncio.Event()
        self.done = asyncio.Event()
        self.fails = False

    async def delete(self, owner: str, session_id: str, at: datetime) -> bool:
        deleted = await super().delete(owner, session_id, at)
        await self._say()
        return deleted

    async def replace_config(self, old: Session, new: Session) -> bool:
        replaced = await super().replace_config(old, new)
        await self._say()
        return replaced

    async def _say(self) -> None:
        self.done.set()
        await self.says.wait()
        if self.fails:
            raise StoreUnavailable("no answer")


@pytest.fixture
async def slow(anyio_backend: str, tmp_path: Path) -> SlowToSay:
    return SlowToSay(tmp_path)


async def test_a_deletion_whose_caller_leaves_is_done_to_its_end(
    make_manager: MakeManager, scripted: ScriptedRuntime, slow: SlowToSay
) -> None:
    manager = await make_manager(scripted, store=slow)
    session = await manager.resolve("ann", "label", None)
    await run(manager, session, "echo")
    deletion = asyncio.create_task(manager.delete("ann", session.id))
    await slow.done.wait()
    deletion.cancel()
    await asyncio.wait({deletion})
    slow.says.set()
    async with asyncio.timeout(10):
        while scripted.boxes or await manager.executions(session):  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0)
    with pytest.raises(NotFound):
        await manager.get("ann", session.id)
    assert (await manager.resolve("ann", "label", None)).id != session.id


async def test_a_deletion_that_the_store_made_but_could_not_confirm_is_finished_by_the_next_one(
    make_manager: MakeManager, scripted: ScriptedRuntime, slow: SlowToSay
) -> None:
    manager = await make_manager(scripted, store=slow)
    session = await manager.resolve("ann", "label", None)
    await run(manager, session, "echo")
    slow.says.set()
    slow.fails = True
    with pytest.raises(StoreUnavailable):
        await manager.delete("ann", session.id)
    slow.fails = False
    with pytest.raises(NotFound):
        await manager.delete("ann", session.id)
    assert scripted.boxes == {}
    assert (await manager.resolve("ann", "label", None)).id != session.id


async def test_a_change_whose_caller_leaves_is_known_here_as_it_is_in_the_store(
    make_manager: MakeManager, scripted: ScriptedRuntime, slow: SlowToSay
) -> None:
    manager = await make_manager(scripted, store=slow)
    session = await manager.resolve("ann", "label", None)
    change = asyncio.create_task(manager.configs.change("ann", session.id, {"search": {"enable": False}}))
    await slow.done.wait()
    change.cancel()
    await asyncio.wait({change})
    slow.says.set()
    async with asyncio.timeout(10):
        while (await manager.get("ann", session.id)).config_version != 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)


async def test_a_change_that_the_store_made_but_could_not_confirm_holds_as_soon_as_it_answers(
    make_manager: MakeManager, scripted: ScriptedRuntime, slow: SlowToSay
) -> None:
    manager = await make_manager(scripted, store=slow)
    session = await manager.resolve("ann", "label", None)
    slow.says.set()
    slow.fails = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await manager.configs.change("ann", session.id, {"search": {"enable": False}})
    async with asyncio.timeout(10):
        while (await manager.get("ann", session.id)).config_version != 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
