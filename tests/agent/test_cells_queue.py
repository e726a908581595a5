"""Cells that wait for their turn: one at a time, first come first served."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sandbox.errors import CallFault
from sandbox.limits import EXECUTIONS_QUEUED_MAX
from sandbox.pipe.messages import Action, CodeResult, Ending, Progress, Started
from tests.agent.kernels import Place, place, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def here(anyio_backend: str) -> AsyncIterator[Place]:
    async with place() as opened:
        await opened.cells.ready()
        yield opened


class Busy:
    """A cell that runs until `stop`."""

    def __init__(self, here: Place) -> None:
        self._interrupted = asyncio.Event()
        self._started = asyncio.Event()
        self.task = asyncio.create_task(
            here.run("import time; time.sleep(600)", interrupted=self._interrupted, emit=lambda _: self._started.set())
        )

    async def started(self) -> None:
        """Wait until it runs."""
        await self._started.wait()

    async def stop(self) -> CodeResult:
        """Interrupt it."""
        self._interrupted.set()
        return await self.task


async def test_cells_run_in_the_order_they_came(here: Place) -> None:
    await here.run("order = []")
    await asyncio.gather(*(here.run(f"order.append({number})") for number in range(20)))

    assert await here.value("order == list(range(20))") == "True"


async def test_a_cell_says_how_long_it_stood_behind_others(here: Place) -> None:
    first: list[Progress] = []
    second: list[Progress] = []
    await asyncio.gather(here.run("import time; time.sleep(0.2)", emit=first.append), here.run("1", emit=second.append))

    assert first[0] == Started(waited_ms=0)
    assert isinstance(second[0], Started)
    assert second[0].waited_ms >= 200


async def test_a_cell_behind_one_that_fails_runs(here: Place) -> None:
    failed, ran = await asyncio.gather(here.run("1 / 0"), here.run("'ran'"))

    assert (failed.ending, ran.ending, ran.value.text) == (Ending.ERROR, Ending.COMPLETED, "'ran'")


async def test_cells_behind_one_that_times_out_or_kills_the_kernel_run(here: Place) -> None:
    results = await asyncio.gather(
        here.run("import time; time.sleep(600)", timeout_s=0.2),
        here.run("'after the timeout'"),
        here.run("import os; os._exit(1)"),
        here.run("'after the death'"),
    )

    assert [result.ending for result in results] == [
        Ending.TIMED_OUT,
        Ending.COMPLETED,
        Ending.KERNEL_DIED,
        Ending.COMPLETED,
    ]
    assert [result.value.text for result in results] == ["", "'after the timeout'", "", "'after the death'"]


async def test_a_cell_that_waits_too_long_was_not_started(here: Place) -> None:
    await here.run("ran = False")
    busy = Busy(here)
    await busy.started()
    result = await here.run("ran = True", queue_timeout_s=0.05)
    await busy.stop()

    assert (result.ending, result.action, result.variables_kept) == (Ending.TIMED_OUT, Action.NOT_STARTED, True)
    assert await here.value("ran") == "False"


async def test_a_cell_that_is_interrupted_while_it_waits_was_not_started(here: Place) -> None:
    busy = Busy(here)
    await busy.started()
    interrupted = asyncio.Event()
    waiting = asyncio.create_task(here.run("never = True", interrupted=interrupted))
    behind = asyncio.create_task(here.run("'never' in globals()"))
    await until(lambda: here.cells.state()[3] == 2)
    interrupted.set()
    result = await waiting
    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.NOT_STARTED)
    await busy.stop()

    assert (await behind).value.text == "False"


async def test_a_waiting_cell_whose_caller_is_gone_leaves_the_queue(here: Place) -> None:
    busy = Busy(here)
    await busy.started()
    waiting = asyncio.create_task(here.run("1"))
    await until(lambda: here.cells.state()[3] == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert here.cells.state()[3] == 0
    await busy.stop()

    await here.usable()


async def test_more_cells_than_the_queue_holds_are_refused(here: Place) -> None:
    busy = Busy(here)
    await busy.started()
    waiting = [asyncio.create_task(here.run("1")) for _ in range(EXECUTIONS_QUEUED_MAX)]
    await until(lambda: here.cells.state()[3] == EXECUTIONS_QUEUED_MAX)
    with pytest.raises(CallFault) as refused:
        await here.run("1")
    assert refused.value.fault == "busy"
    await busy.stop()

    results = await asyncio.gather(*waiting)
    assert {result.ending for result in results} == {Ending.COMPLETED}
