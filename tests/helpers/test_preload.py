"""The helpers in a real kernel: there without import, in every kernel, whatever user code does around them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import helpers
from tests.agent.kernels import Place, place
from tests.compat.requirements import promises
from tests.support.relay_server import Replies, Request, result, serving

pytestmark = pytest.mark.anyio
NAMES = [helper.__name__ for helper in helpers.FUNCTIONS]
ALL_THERE = f"all(callable(globals().get(name)) for name in {NAMES})"
CALL = "run_composio_tool('A_B', {'n': 1})"
ANSWER = "({'data': {'n': 1}}, '')"


def echo(request: Request) -> Replies:
    place = request.get("arguments_path")
    arguments = request["arguments"] if place is None else json.loads(Path(place).read_text())
    return result({"data": arguments["arguments"]})


@pytest.fixture
async def kernel(anyio_backend: str, short_folder: Path) -> AsyncIterator[Place]:
    with serving(short_folder / "relay", echo):
        async with place(relay=short_folder / "relay") as opened:
            yield opened


@promises("CC-1.03")
async def test_the_helpers_are_there_without_import_and_after_a_restart(kernel: Place) -> None:
    assert await kernel.value(ALL_THERE) == "True"
    assert await kernel.value(CALL) == ANSWER
    await kernel.cells.restart()
    assert await kernel.value(ALL_THERE) == "True"
    assert await kernel.value(CALL) == ANSWER


async def test_a_reset_of_the_namespace_leaves_the_helpers(kernel: Place) -> None:
    await kernel.run("mine = 1\n%reset -f")
    assert await kernel.value(ALL_THERE) == "True"
    assert await kernel.value("'mine' in globals()") == "False"


async def test_the_helpers_are_not_listed_as_the_users_variables(kernel: Place) -> None:
    assert (await kernel.run("%who")).stdout.text == "Interactive namespace is empty.\n"


async def test_a_variable_of_the_users_may_have_a_helpers_name(kernel: Place) -> None:
    await kernel.run("web_search = 1")
    assert await kernel.value("web_search") == "1"


async def test_help_shows_the_signature_and_an_example(kernel: Place) -> None:
    shown = (await kernel.run("help(run_composio_tool)")).stdout.text
    assert "run_composio_tool(tool_slug: str, arguments: dict[" in shown
    assert "Example:" in shown


@pytest.mark.parametrize(
    "name", ["json", "helpers", "socket", "threading", "workbench_helpers", "workbench_kernel", "tempfile"]
)
async def test_a_file_of_the_users_does_not_shadow_what_the_helpers_need(kernel: Place, name: str) -> None:
    (kernel.home / f"{name}.py").write_text("raise RuntimeError('shadowed')")
    await kernel.cells.restart()
    assert await kernel.value(CALL) == ANSWER
    assert (
        await kernel.value("run_composio_tool('A_B', {'n': 'x' * 100_000}) == ({'data': {'n': 'x' * 100_000}}, '')")
        == "True"
    )


@promises("CC-2.20")
async def test_threads_of_a_cell_call_at_the_same_time(kernel: Place) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(10) as pool:
    found = list(pool.map(lambda n: run_composio_tool('A_B', {'n': n}), range(500)))
found == [({'data': {'n': n}}, '') for n in range(500)]
"""
    assert await kernel.value(code) == "True"


async def test_processes_of_a_cell_call_too(kernel: Place) -> None:
    code = f"""
from concurrent.futures import ProcessPoolExecutor
{CALL}
with ProcessPoolExecutor(2) as pool:
    found = [pool.submit(run_composio_tool, 'A_B', {{'n': n}}) for n in range(4)]
    shown = [future.result() for future in found]
shown == [({{'data': {{'n': n}}}}, '') for n in range(4)]
"""
    assert await kernel.value(code) == "True"


async def test_a_new_cell_calls_again_after_an_interrupted_one(anyio_backend: str, short_folder: Path) -> None:
    answers = [result(None, "interrupted", interrupted=True), result({"data": {}})]
    with serving(short_folder / "relay", lambda _: answers.pop(0)) as server:
        async with place(relay=short_folder / "relay") as kernel:
            assert await kernel.value(f"[{CALL}[1], {CALL}[1]]") == "['interrupted', 'interrupted']"
            assert await kernel.value(CALL) == "({'data': {}}, '')"
            assert len(server.requests) == 2


async def test_helpers_that_cannot_be_loaded_leave_a_kernel(anyio_backend: str, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("raise RuntimeError('broken')")
    async with place(helpers=tmp_path) as kernel:
        await kernel.usable()
        assert await kernel.value("'run_composio_tool' in globals()") == "False"
