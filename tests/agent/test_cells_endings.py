"""How cells end, however they behave; after each the next one runs at once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from sandbox.pipe.messages import Action, Ending, KernelState, LiveAction, Progress, Started
from tests.agent.kernels import Place, place, program, until
from tests.compat.requirements import promises

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def here(anyio_backend: str) -> AsyncIterator[Place]:
    async with place() as opened:
        await opened.cells.ready()
        yield opened


async def test_a_cell_that_prints_and_has_a_value_completes(here: Place) -> None:
    result = await here.run("print('hello')\n6 * 7")

    assert (result.ending, result.action, result.variables_kept) == (Ending.COMPLETED, Action.NONE, True)
    assert (result.stdout.text, result.stdout.bytes, result.value.text) == ("hello\n", 6, "42")
    assert (result.stderr.text, result.error, result.note, result.results_path) == ("", None, None, None)
    assert result.duration_ms > 0


async def test_an_exception_ends_with_its_traceback_and_the_output_before_it(here: Place) -> None:
    result = await here.run("print('before')\n1 / 0")

    assert (result.ending, result.stdout.text) == (Ending.ERROR, "before\n")
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("ZeroDivisionError", "division by zero")
    assert "----> 2 1 / 0" in result.error.traceback
    assert "\x1b" not in result.error.traceback
    assert result.stderr.text == ""


async def test_a_very_long_error_keeps_its_head_and_its_tail(here: Place) -> None:
    result = await here.run("raise ValueError('a' * 100_000 + 'END')")

    assert result.error is not None
    assert len(result.error.traceback) <= 20_000
    assert result.error.traceback.endswith("END")
    assert "characters left out" in result.error.traceback


async def test_variables_are_kept_from_cell_to_cell(here: Place) -> None:
    await here.run("kept = 'here'")

    assert await here.value("kept") == "'here'"


@pytest.mark.parametrize(
    "code", ["exit", "quit()", "raise SystemExit", "import sys; sys.exit()", "raise SystemExit(0)"]
)
async def test_a_clean_exit_ends_the_cell_and_not_the_kernel(here: Place, code: str) -> None:
    await here.run("kept = 1")
    result = await here.run(f"print('before')\n{code}")

    assert (result.ending, result.error, result.stdout.text) == (Ending.COMPLETED, None, "before\n")
    assert result.stderr.text == ""
    assert await here.value("kept") == "1"


async def test_an_exit_with_a_code_is_an_error_and_the_kernel_goes_on(here: Place) -> None:
    result = await here.run("import sys; sys.exit(1)")

    assert result.ending is Ending.ERROR
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("SystemExit", "1")
    await here.usable()


@pytest.mark.parametrize("code", ["input()", "import getpass; getpass.getpass()"])
async def test_asking_for_input_is_an_error_at_once(here: Place, code: str) -> None:
    result = await here.run(code)

    assert result.error is not None
    assert result.error.name == "StdinNotImplementedError"


async def test_reading_standard_input_finds_its_end(here: Place) -> None:
    assert await here.value("import sys; sys.stdin.read()") == "''"


@promises("CC-8.04")
async def test_a_sleep_past_its_deadline_is_interrupted_with_its_output_and_variables_kept(here: Place) -> None:
    await here.run("kept = 2")
    events: list[Progress] = []
    result = await here.run("import time\nprint('began')\ntime.sleep(600)", timeout_s=0.5, emit=events.append)

    assert (result.ending, result.action, result.variables_kept) == (Ending.TIMED_OUT, Action.INTERRUPTED, True)
    assert result.stdout.text == "began\n"
    assert result.error is not None
    assert result.error.name == "KeyboardInterrupt"
    assert isinstance(events[0], Started)
    assert LiveAction(Action.INTERRUPTED, Ending.TIMED_OUT) in events
    assert await here.value("kept") == "2"


async def test_awaiting_past_its_deadline_is_interrupted(here: Place) -> None:
    result = await here.run("import asyncio\nawait asyncio.sleep(600)", timeout_s=0.3)

    assert (result.ending, result.action) == (Ending.TIMED_OUT, Action.INTERRUPTED)
    await here.usable()


async def test_a_child_process_past_the_deadline_is_interrupted_too(here: Place) -> None:
    result = await here.run("!sleep 600", timeout_s=0.3)

    assert (result.ending, result.action) == (Ending.TIMED_OUT, Action.INTERRUPTED)
    await here.usable()


@pytest.mark.parametrize("name", ["swallows_interrupts", "busy_in_c"])
async def test_a_cell_that_cannot_be_interrupted_is_killed_and_says_so(here: Place, name: str) -> None:
    await here.run("lost = 3")
    events: list[Progress] = []
    result = await here.run(program(name), timeout_s=0.3, emit=events.append)

    assert (result.ending, result.action) == (Ending.TIMED_OUT, Action.KERNEL_RESTARTED)
    assert (result.variables_kept, result.files_kept) == (False, True)
    assert result.stdout.text.startswith("began\n")
    assert [event.action for event in events if isinstance(event, LiveAction)] == [
        Action.INTERRUPTED,
        Action.KERNEL_RESTARTED,
    ]
    assert await here.value("'lost' in globals()") == "False"


async def test_an_interruption_ends_a_loop(here: Place) -> None:
    interrupted = asyncio.Event()
    events: list[Progress] = []

    def emit(event: Progress) -> None:
        events.append(event)
        interrupted.set()

    result = await here.run("while True: pass", interrupted=interrupted, emit=emit)

    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.INTERRUPTED)
    await here.usable()


async def test_exit_codes_of_a_kernel_that_ends_itself_are_told(here: Place) -> None:
    result = await here.run("import os; print('last words', flush=True); os._exit(3)")

    assert (result.ending, result.exit_code, result.signal) == (Ending.KERNEL_DIED, 3, None)
    assert (result.variables_kept, result.files_kept, result.out_of_memory) == (False, True, False)
    assert result.stdout.text == "last words\n"
    await here.usable()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
async def test_signals_that_end_the_kernel_are_named(here: Place, code: str, name: str) -> None:
    result = await here.run(code)

    assert (result.ending, result.exit_code, result.signal) == (Ending.KERNEL_DIED, None, name)
    await here.usable()


async def test_a_kernel_whose_descriptors_are_closed_ends_and_is_replaced(here: Place) -> None:
    result = await here.run(program("closes_all_descriptors"), timeout_s=1)

    assert result.ending in {Ending.KERNEL_DIED, Ending.TIMED_OUT}
    assert (result.variables_kept, result.stdout.text) == (False, "before\n")
    await here.usable()


async def test_a_kernel_that_dies_between_cells_is_replaced_and_the_next_answer_says_so(here: Place) -> None:
    _, pid, _, _ = here.cells.state()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: here.cells.state()[1] not in {pid, None})
    result = await here.run("1")

    assert (result.ending, result.variables_kept) == (Ending.COMPLETED, True)
    assert result.note is not None
    assert "SIGKILL" in result.note
    assert "variables are lost" in result.note
    assert (await here.run("1")).note is None


async def test_a_cell_sent_right_after_its_kernel_was_killed_runs_on_the_next_one(here: Place) -> None:
    for _ in range(5):
        await here.run("before = 1")
        _, pid, _, _ = here.cells.state()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        result = await here.run("'before' in globals()")

        assert (result.ending, result.value.text) == (Ending.COMPLETED, "False")
        assert result.note is not None
        assert "variables are lost" in result.note


async def test_a_restart_ends_what_runs_and_gives_a_new_kernel(here: Place) -> None:
    await here.run("lost = 4")
    started = asyncio.Event()
    running = asyncio.create_task(here.run("import time; time.sleep(600)", emit=lambda _: started.set()))
    await started.wait()
    queued = asyncio.create_task(here.run("'lost' in globals()"))
    assert here.cells.state()[0] is KernelState.BUSY
    await here.cells.restart()

    result = await running
    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.KERNEL_RESTARTED)
    assert not result.variables_kept
    after = await queued
    assert (after.ending, after.value.text, after.note) == (Ending.COMPLETED, "False", None)


async def test_a_restart_of_an_idle_kernel_loses_variables_only(here: Place) -> None:
    (here.home / "file.txt").write_text("kept")
    _, before, _, _ = here.cells.state()
    await here.cells.restart()

    state, after, running, queued = here.cells.state()
    assert (state, running, queued) == (KernelState.IDLE, 0, 0)
    assert after != before
    assert await here.value("open('file.txt').read()") == "'kept'"


async def test_a_fork_that_returns_into_the_kernel_does_not_make_two_of_it(here: Place) -> None:
    result = await here.run(program("forks_and_goes_on"))

    assert (result.ending, result.stdout.text) == (Ending.COMPLETED, "once\n")
    assert await here.value("os.waitpid(child, 0)[1]") == "0"
    await here.usable()


async def test_a_cell_whose_caller_is_gone_does_not_keep_the_kernel(here: Place) -> None:
    started = asyncio.Event()
    running = asyncio.create_task(here.run("while True: pass", emit=lambda _: started.set()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    await here.usable()
