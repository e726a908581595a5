"""Removals that the engine owes: tried until it can, and one that it never can holds up no other."""

from typing import cast

import pytest

from sandbox.errors import RuntimeFault
from sandbox.runtimes.base import SIZES, Runtime, SandboxSpec
from sandbox.sessions.background import Background
from sandbox.sessions.debts import Debts
from tests.support.scripted_runtime import ScriptedRuntime

pytestmark = pytest.mark.anyio


class Stubborn(ScriptedRuntime):
    """An engine that cannot remove the sandbox `stuck`."""

    stuck: str | None = "stuck"

    async def remove(self, sandbox_id: str) -> None:
        if sandbox_id == self.stuck:
            raise RuntimeFault("device or resource busy")
        await super().remove(sandbox_id)


async def test_a_removal_that_the_engine_cannot_do_holds_up_no_other() -> None:
    runtime, background = Stubborn(), Background()
    debts = Debts(cast("Runtime", runtime), "here", background, deadline_s=5)
    for sandbox_id in ("stuck", "first", "second"):
        await runtime.create(SandboxSpec(sandbox_id, "here", SIZES["standard"]))
        debts.owe(sandbox_id)
    for _ in range(3):
        assert not await debts._pay()
    assert runtime.removed == ["first", "second"]
    assert len(debts) == 1

    runtime.stuck = None
    assert await debts._pay()
    assert runtime.removed == ["first", "second", "stuck"]
    assert len(debts) == 0
    await background.aclose(5)
