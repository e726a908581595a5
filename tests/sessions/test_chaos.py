"""Everything at once, in many orders: whatever happens, every execution ends and nothing is left."""

import asyncio
import random

import pytest

from sandbox.errors import NotFound, WorkbenchError
from sandbox.pipe.messages import RunBash, RunCode
from sandbox.runtimes.base import Condition
from sandbox.sessions.execution import Execution, ExecutionState
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from tests.sessions.conftest import MakeManager
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

LABELS = ("a", "b", "c", "d")
CODES = ("echo", "wait", "die", "busy", "liar", "flood 20", "deaf")


class Chaos:
    """Does one random thing after another, from a seed."""

    def __init__(self, seed: int, manager: SessionManager, scripted: ScriptedRuntime) -> None:
        self.random = random.Random(seed)
        self.manager = manager
        self.scripted = scripted
        self.executions: list[Execution] = []

    async def act(self) -> None:
        label = self.random.choice(LABELS)
        match self.random.choice(("run", "run", "run", "interrupt", "kill", "delete", "engine", "leave", "pause")):
            case "run":
                await self.run(label)
            case "interrupt" if self.executions:
                self.random.choice(self.executions).interrupt()
            case "kill" if self.scripted.boxes:
                how = self.random.choice((Condition.GONE, Condition.EXITED, Condition.PAUSED))
                self.random.choice(list(self.scripted.boxes.values())).end(how)
            case "delete":
                await self.delete(label)
            case "engine":
                self.scripted.refuse = not self.scripted.refuse
            case "leave":
                self.leave(label)
            case _:
                for _ in range(self.random.randrange(20)):
                    await asyncio.sleep(0)

    async def run(self, label: str) -> None:
        session = await self.manager.resolve("ann", label, None)
        code = self.random.choice(CODES)
        body = RunCode(code) if self.random.random() < 0.5 else RunBash(code)
        self.executions.append(await self.manager.start(session, body, timeout_s=0.05))

    async def delete(self, label: str) -> None:
        session = await self.manager.resolve("ann", label, None)
        try:
            await self.manager.delete("ann", session.id)
        except NotFound:
            pytest.fail("nobody else deletes")

    def leave(self, label: str) -> None:
        """A caller that goes away at once."""
        asyncio.get_running_loop().call_soon(asyncio.ensure_future(self.run(label)).cancel)


@pytest.mark.parametrize("seed", range(12))
async def test_every_execution_ends_and_nothing_is_left(
    make_manager: MakeManager, scripted: ScriptedRuntime, seed: int
) -> None:
    before = asyncio.all_tasks()
    limits = SessionLimits(pool_size=2, pool_retry_s=0.001, silence_s=0.05, shutdown_grace_s=5)
    manager = await make_manager(scripted, limits)
    chaos = Chaos(seed, manager, scripted)
    for _ in range(120):
        await chaos.act()
    for execution in chaos.executions[::2]:
        try:
            async with asyncio.timeout(10):
                await execution.wait()
        except WorkbenchError:
            assert execution.error is not None
    await manager.aclose()
    assert {execution.state for execution in chaos.executions} == {ExecutionState.ENDED}
    assert scripted.boxes == {}
    assert asyncio.all_tasks() == before
