"""The life of a kernel: its start, a start that fails, its end."""

import asyncio
import sys
from pathlib import Path

import pytest

import helpers
from sandbox.agent.kernel import Kernel
from sandbox.agent.kernel_keeper import KernelKeeper
from sandbox.errors import CallFault
from sandbox.pipe.messages import Action, Ending, KernelState
from tests.agent.kernels import listed, place

pytestmark = pytest.mark.anyio


async def test_a_kernel_is_starting_until_it_is_ready(anyio_backend: str) -> None:
    async with place() as opened:
        state, pid, running, queued = opened.cells.state()
        assert (state, running, queued) == (KernelState.STARTING, 0, 0)
        assert pid is not None
        await opened.cells.ready()

        assert opened.cells.state() == (KernelState.IDLE, pid, 0, 0)
        assert await opened.value("import os; os.getpid()") == str(pid)
        assert await opened.value("os.getcwd()") == repr(str(opened.home))


async def test_a_cell_waits_for_a_kernel_that_is_starting() -> None:
    async with place() as opened:
        assert await opened.value("1 + 1") == "2"


async def test_an_interruption_while_the_kernel_starts_leaves_the_cell_unstarted() -> None:
    async with place() as opened:
        interrupted = asyncio.Event()
        waiting = asyncio.create_task(opened.run("1", interrupted=interrupted))
        await asyncio.sleep(0)
        interrupted.set()

        assert (await waiting).ending is Ending.INTERRUPTED
        await opened.usable()


async def test_the_namespace_begins_like_a_notebook_s_with_the_helpers_in_it() -> None:
    async with place() as opened:
        assert await opened.value("__name__") == "'__main__'"
        names = {"In", "Out", "exit", "get_ipython", "open", "quit", *(helper.__name__ for helper in helpers.FUNCTIONS)}
        assert await opened.value(f"{{name for name in dir() if not name.startswith('_')}} == {names}") == "True"
        assert await opened.value("import sys; [path for path in sys.path if 'agent' in path]") == "[]"


async def test_an_interpreter_that_is_not_there_is_named() -> None:
    async with place(python="/nowhere/python") as opened:
        with pytest.raises(CallFault) as failed:
            await opened.cells.ready()

        assert failed.value.fault == "kernel_start_failed"
        assert "/nowhere/python" in failed.value.message
        assert opened.cells.state()[0] is KernelState.DEAD
        result = await opened.run("1")
        assert (result.ending, result.action, result.variables_kept) == (
            Ending.KERNEL_DIED,
            Action.NOT_STARTED,
            False,
        )
        assert result.note is not None
        assert "/nowhere/python" in result.note


async def test_a_kernel_that_cannot_start_gives_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'this interpreter is broken' >&2\nexit 7\n")
    broken.chmod(0o755)
    async with place(python=str(broken)) as opened:
        with pytest.raises(CallFault, match=r"exit code 7(.|\n)*this interpreter is broken"):
            await opened.cells.ready()


async def test_the_wait_for_a_kernel_is_within_the_same_deadline_as_the_wait_for_a_turn(tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    async with place(python=str(slow)) as opened, asyncio.timeout(10):
        results = await asyncio.gather(
            opened.run("'first'", queue_timeout_s=0.05), opened.run("'second'", queue_timeout_s=0.1)
        )

    assert [(result.ending, result.action) for result in results] == [(Ending.TIMED_OUT, Action.NOT_STARTED)] * 2
    assert results[0].note == "no kernel was ready in time"


async def test_a_kernel_that_could_not_start_is_tried_again(tmp_path: Path) -> None:
    python = tmp_path / "python"
    async with place(python=str(python)) as opened:
        assert (await opened.run("1")).action is Action.NOT_STARTED
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)

        await opened.usable()


async def test_no_descriptors_and_folders_are_left_by_many_restarts() -> None:
    async with place() as opened:
        await opened.cells.ready()
        await opened.cells.restart()
        before = len(listed(Path("/proc/self/fd")))
        for _ in range(5):
            await opened.cells.restart()

        assert len(listed(Path("/proc/self/fd"))) <= before
        assert len(listed(opened.folder / "p")) == 1


async def test_closing_ends_a_cell_that_runs() -> None:
    async with place() as opened:
        started = asyncio.Event()
        running = asyncio.create_task(opened.run("while True: pass", emit=lambda _: started.set()))
        await started.wait()
        await opened.cells.aclose()

        assert (await running).ending is Ending.KERNEL_DIED


class Restless(KernelKeeper):
    """Has its first kernel killed in the moment in which that gets ready."""

    first: Kernel | None = None

    def kernel_ready(self, kernel: Kernel) -> None:
        super().kernel_ready(kernel)
        if self.first is None:
            self.first = kernel
            self.kill()


async def test_who_waits_for_a_kernel_that_is_killed_as_it_gets_ready_gets_the_next_one() -> None:
    async with place() as opened:
        keeper = opened.cells._keeper
        keeper.__class__ = Restless
        assert isinstance(keeper, Restless)
        kernel = await keeper.ready()
        assert keeper.first is not None
        assert kernel is not keeper.first
        await opened.usable()
