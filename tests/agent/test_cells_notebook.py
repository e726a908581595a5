"""Cells work as in a notebook: magics, top-level await, hints where a habit from elsewhere fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sandbox.pipe.messages import Action, Ending
from tests.agent.kernels import Place, place
from tests.compat.requirements import promises

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def here(anyio_backend: str) -> AsyncIterator[Place]:
    async with place() as opened:
        await opened.cells.ready()
        yield opened


async def test_top_level_await_works(here: Place) -> None:
    assert await here.value("import asyncio\nawait asyncio.sleep(0, 'awaited')") == "'awaited'"


async def test_a_cell_that_computes_between_awaits_is_interrupted(here: Place) -> None:
    result = await here.run("import asyncio, time\nawait asyncio.sleep(0)\ntime.sleep(600)", timeout_s=0.3)

    assert (result.ending, result.action) == (Ending.TIMED_OUT, Action.INTERRUPTED)
    await here.usable()


async def test_a_background_task_goes_on_between_cells(here: Place) -> None:
    await here.run(
        "import asyncio\nfinished = asyncio.Event()\n"
        "async def later():\n    await asyncio.sleep(0.01)\n    finished.set()\n"
        "task = asyncio.create_task(later())"
    )

    assert await here.value("await finished.wait()") == "True"


async def test_magics_work(here: Place) -> None:
    timed = await here.run("%time 1 + 1")
    listed = await here.run("files = !echo one two")

    assert "Wall time" in timed.stdout.text
    assert timed.value.text == "2"
    assert listed.ending is Ending.COMPLETED
    assert await here.value("list(files)") == "['one two']"


async def test_a_bash_cell_past_its_deadline_is_interrupted(here: Place) -> None:
    result = await here.run("%%bash\necho began\nsleep 600", timeout_s=0.3)

    assert (result.ending, result.action) == (Ending.TIMED_OUT, Action.INTERRUPTED)
    assert result.stdout.text.startswith("began\n")
    await here.usable()


async def test_python_variables_reach_shell_lines(here: Place) -> None:
    result = await here.run("word = 'from python'\n!echo {word}")

    assert result.stdout.text == "from python\n"


async def test_help_is_text(here: Place) -> None:
    assert "Docstring" in await here.value("len?")


async def test_a_syntax_error_is_shown_with_its_place(here: Place) -> None:
    result = await here.run("def broken(:\n    pass")

    assert result.error is not None
    assert result.error.name == "SyntaxError"
    assert "line 1" in result.error.traceback


@promises("CC-2.22")
async def test_a_top_level_return_gets_a_hint(here: Place) -> None:
    result = await here.run("x = 1\nreturn x")

    assert result.error is not None
    assert result.error.name == "SyntaxError"
    assert "a cell is not a function" in result.error.traceback


async def test_colours_are_left_out(here: Place) -> None:
    result = await here.run("!ls --color=auto /\n1 / 0")

    assert "\x1b" not in result.stdout.text
    assert result.error is not None
    assert "\x1b" not in result.error.traceback


async def test_changing_and_deleting_the_working_directory_leaves_a_usable_kernel(here: Place) -> None:
    await here.run("import os, tempfile\ngone = tempfile.mkdtemp()\nos.chdir(gone)\nos.rmdir(gone)")
    await here.usable()
    await here.cells.restart()

    assert await here.value("import os; os.getcwd()") == repr(str(here.home))


async def test_patched_builtins_do_not_keep_cells_from_ending(here: Place) -> None:
    await here.run("import builtins, signal\nbuiltins.input = None\nprint = None\nsignal.signal = None")
    result = await here.run("1")

    assert result.ending is Ending.COMPLETED
    await here.cells.restart()


async def test_empty_cells_and_comments_complete(here: Place) -> None:
    for code in ("", "   \n\n", "# only a comment"):
        result = await here.run(code)
        assert (result.ending, result.value.text) == (Ending.COMPLETED, "")


async def test_a_cell_of_a_megabyte_runs(here: Place) -> None:
    assert await here.value("len('" + "x" * 1_000_000 + "')") == "1000000"


async def test_execution_counts_go_up_and_begin_again_with_a_new_kernel(here: Place) -> None:
    await here.cells.restart()
    first, second = await asyncio.gather(here.run("1"), here.run("2"))

    assert (first.execution_count, second.execution_count) == (1, 2)


async def test_user_code_finds_the_whole_of_a_package_that_the_kernel_imports_in_part(here: Place) -> None:
    taken = await here.value(
        "import jupyter_client, jupyter_client.session\n"
        "from jupyter_client import BlockingKernelClient, KernelManager\n"
        "[jupyter_client.KernelManager is KernelManager, jupyter_client.session.Session.__name__,"
        " isinstance(jupyter_client.__version__, str)]"
    )
    assert taken == "[True, 'Session', True]"


async def test_a_thread_displays_beside_the_cell(here: Place) -> None:
    result = await here.run(
        "import threading\nfrom IPython.display import display\n"
        "threads = [threading.Thread(target=display, args=(number,)) for number in range(20)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()"
    )
    assert sorted(map(int, result.value.text.split())) == list(range(20))
