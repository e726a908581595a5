"""What cells write, in whatever way: bounded inline, whole in its file, counted exactly."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from sandbox.limits import INLINE_CHARS, LIVE_CHARS
from sandbox.pipe.messages import Ending, LiveCut, LiveOutput, Progress, StreamName
from tests.agent.kernels import Place, place, program, read, until
from tests.compat.requirements import promises

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def here(anyio_backend: str) -> AsyncIterator[Place]:
    async with place() as opened:
        await opened.cells.ready()
        yield opened


async def test_children_and_descriptors_are_captured_like_prints(here: Place) -> None:
    result = await here.run(
        "import os, subprocess, sys\n"
        "print('print'); sys.stdout.flush(); print('warn', file=sys.stderr)\n"
        "subprocess.run(['sh', '-c', 'echo child; echo child-err >&2'])\n"
        "os.write(1, b'raw\\n'); os.write(2, b'raw-err\\n'); None"
    )

    assert result.stdout.text == "print\nchild\nraw\n"
    assert result.stderr.text == "warn\nchild-err\nraw-err\n"


async def test_shell_lines_and_bash_cells_keep_both_streams_apart(here: Place) -> None:
    line = await here.run("!echo out; echo err >&2; exit 3")
    cell = await here.run("%%bash\necho out\necho err >&2")

    assert (line.stdout.text, line.stderr.text) == ("out\n", "err\n")
    assert (cell.stdout.text, cell.stderr.text) == ("out\n", "err\n")
    assert await here.value("_exit_code") == "3"


async def test_captured_shell_lines_stay_captured(here: Place) -> None:
    result = await here.run("%%capture taken\n!echo inside")

    assert result.stdout.text == ""
    assert await here.value("taken.stdout") == "'inside\\n'"


@pytest.mark.parametrize(
    "code",
    [
        "print('x' * 100_000_000, end='')",
        "import os, sys\nsys.stdout.flush()\nfor _ in range(100): os.write(1, b'x' * 1_000_000)",
    ],
)
async def test_100_megabytes_are_in_the_file_byte_for_byte_and_the_answer_is_bounded(here: Place, code: str) -> None:
    result = await here.run(code)

    assert result.ending is Ending.COMPLETED
    assert len(result.stdout.text) == INLINE_CHARS
    assert (result.stdout.bytes, result.stdout.lines) == (100_000_000, 1)
    assert result.stdout.path is not None
    assert result.results_path == result.stdout.path
    assert read(result.stdout.path) == b"x" * 100_000_000
    await here.run(f"import os; os.unlink({result.stdout.path!r})")


async def test_a_million_prints_are_counted_exactly(here: Place) -> None:
    result = await here.run("for number in range(1_000_000): print(number)")

    assert result.stdout.lines == 1_000_000
    assert result.stdout.path is not None
    assert read(result.stdout.path) == b"".join(b"%d\n" % number for number in range(1_000_000))


async def test_broken_text_does_not_break_the_answer(here: Place) -> None:
    result = await here.run(program("prints_half_characters"))

    assert result.stdout.text == "é€😀\ufffd\ufffd\n"
    assert result.stdout.bytes == 12


async def test_text_that_is_no_unicode_can_be_printed_and_returned(here: Place) -> None:
    result = await here.run("print('\\ud800')\n'\\udfff'")

    assert result.ending is Ending.COMPLETED
    assert result.stdout.text == "\\ud800\n"


async def test_an_error_with_text_that_is_no_unicode_still_ends_the_cell(here: Place) -> None:
    result = await here.run("raise ValueError('\\ud800')")

    assert result.ending is Ending.ERROR
    assert result.error is not None
    assert result.error.name == "ValueError"


async def test_exactly_the_limit_stays_inline_and_one_more_goes_to_a_file(here: Place) -> None:
    fits = await here.run(f"print('y' * {INLINE_CHARS}, end='')")
    over = await here.run(f"print('y' * {INLINE_CHARS + 1}, end='')")

    assert (fits.stdout.path, fits.results_path) == (None, None)
    assert over.stdout.path is not None
    assert len(over.stdout.text) == INLINE_CHARS


async def test_a_long_value_and_output_before_it_have_one_file_with_both(here: Place) -> None:
    result = await here.run("print('a' * 30_000)\nprint('b' * 30_000)\n'c' * 50_000")

    assert result.results_path is not None
    assert result.value.path is not None
    whole = read(result.results_path)
    assert whole == b"a" * 30_000 + b"\n" + b"b" * 30_000 + b"\n'" + b"c" * 50_000 + b"'"


async def test_two_halves_that_only_together_are_too_long_have_a_results_file(here: Place) -> None:
    result = await here.run("print('a' * 30_000)\n'c' * 20_000")

    assert (result.stdout.path, result.value.path) == (None, None)
    assert result.results_path is not None
    assert len(read(result.results_path)) == 30_001 + 20_002


async def test_what_a_thread_prints_after_its_cell_is_in_the_next_answer_with_a_note(here: Place) -> None:
    first = await here.run(program("threads_print_later"))
    with anyio.fail_after(10):
        await (anyio.Path(here.home) / "go_on").write_text("")
    await until(lambda: here.cells._early is not None)
    second = await here.run("print('of the next cell')")

    assert first.stdout.text == ""
    assert second.stdout.text == "from a thread, later\nof the next cell\n"
    assert second.note is not None
    assert "background" in second.note
    assert (await here.run("1")).note is None


@promises("CC-8.04")
async def test_streams_that_user_code_broke_are_mended_for_the_next_cell(here: Place) -> None:
    await here.run(program("breaks_its_streams"))
    result = await here.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n!echo child")

    assert result.ending is Ending.COMPLETED
    assert (result.stdout.text, result.stderr.text) == ("out\nchild\n", "err\n")


async def test_a_replaced_stream_does_not_outlive_its_cell(here: Place) -> None:
    await here.run("import io, sys\nsys.stdout = io.StringIO()\nprint('into nothing')")
    result = await here.run("print('seen')")

    assert result.stdout.text == "seen\n"


async def test_a_stream_that_fails_when_flushed_does_not_keep_the_cell_from_ending(here: Place) -> None:
    result = await here.run(
        "class Bad:\n    def write(self, text): return 0\n    def flush(self): raise RuntimeError\n"
        "import sys\nsys.stdout = sys.stderr = Bad()"
    )

    assert result.ending is Ending.COMPLETED
    await here.usable()


async def test_live_output_comes_while_the_cell_runs_and_in_order(here: Place) -> None:
    interrupted = asyncio.Event()
    events: list[Progress] = []

    def emit(event: Progress) -> None:
        events.append(event)
        if isinstance(event, LiveOutput) and "live" in event.text:
            interrupted.set()

    result = await here.run("print('live')\nwhile True: pass", interrupted=interrupted, emit=emit)

    assert LiveOutput(StreamName.STDOUT, "live\n") in events
    assert (result.ending, result.stdout.text) == (Ending.INTERRUPTED, "live\n")


async def test_live_values_are_sent_too(here: Place) -> None:
    events: list[Progress] = []
    await here.run("6 * 7", emit=events.append)

    assert LiveOutput(StreamName.VALUE, "42\n") in events


async def test_live_output_is_cut_and_the_answer_is_not(here: Place) -> None:
    events: list[Progress] = []
    result = await here.run("print('z' * 3_000_000)", emit=events.append)

    assert sum(len(event.text) for event in events if isinstance(event, LiveOutput)) == LIVE_CHARS
    assert sum(isinstance(event, LiveCut) for event in events) == 1
    assert result.stdout.bytes == 3_000_001


async def test_no_process_output_is_doubled_by_forked_workers(here: Place) -> None:
    result = await here.run(
        "import multiprocessing\n"
        "def work(number): print('worker', number, flush=True); return number\n"
        "print('before', end=' ')\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: done = pool.map(work, [1])"
    )

    assert result.stdout.text == "before worker 1\n"


async def test_a_background_job_that_floods_the_output_does_not_keep_the_cell_from_ending(here: Place) -> None:
    result = await here.run("import subprocess\nflood = subprocess.Popen(['yes'])\nprint('done')")
    after = await here.run("flood.kill(); flood.wait()")

    assert (result.ending, after.ending) == (Ending.COMPLETED, Ending.COMPLETED)
    whole = read(result.stdout.path).decode() if result.stdout.path else result.stdout.text
    assert "done\n" in whole


async def test_garbage_on_the_kernel_s_sockets_is_dropped(here: Place) -> None:
    result = await here.run(program("sends_garbage_to_the_kernel"))

    assert result.ending is Ending.COMPLETED
    await here.usable()
