"""What cells display: values, pictures, tables, updates; the last state wins and is saved."""

import base64
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.limits import ARTIFACTS_MAX
from sandbox.pipe.messages import Ending, LiveArtifact, Progress
from tests.agent.kernels import Place, listed, place, read

pytestmark = pytest.mark.anyio

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
async def here(anyio_backend: str) -> AsyncIterator[Place]:
    async with place() as opened:
        await opened.cells.ready()
        await opened.run(f"from IPython.display import *\npng = {PNG!r}")
        yield opened


async def test_displayed_texts_and_the_value_come_in_order(here: Place) -> None:
    result = await here.run("display('first')\ndisplay([2])\n'last'")

    assert result.value.text == "'first'\n[2]\n'last'"


async def test_a_picture_is_saved_and_its_text_says_where(here: Place) -> None:
    events: list[Progress] = []
    result = await here.run("Image(png)", emit=events.append)

    (artifact,) = result.artifacts
    assert (artifact.type, artifact.size) == ("image/png", len(PNG))
    assert read(artifact.path) == PNG
    assert Path(artifact.path).parent == here.output
    assert result.value.text == f"[image/png saved: {artifact.path}]"
    assert LiveArtifact(artifact) in events


async def test_a_figure_is_shown_at_the_end_of_its_cell(here: Place) -> None:
    result = await here.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nNone")

    assert [artifact.type for artifact in result.artifacts] == ["image/png"]
    assert read(result.artifacts[0].path).startswith(b"\x89PNG")


async def test_a_table_is_text_inline_and_html_in_a_file(here: Place) -> None:
    result = await here.run("import pandas as pd\npd.DataFrame({'column': [1]})")

    assert result.value.text == "   column\n0       1"
    assert [artifact.type for artifact in result.artifacts] == ["text/html"]
    assert b"<table" in read(result.artifacts[0].path)


@pytest.mark.parametrize(
    ("code", "mime", "name", "content"),
    [
        ("HTML('<b>bold</b>')", "text/html", ".html", "<b>bold</b>"),
        ("SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>')", "image/svg+xml", ".svg", "<svg"),
        ("JSON({'a': 1})", "application/json", ".json", '{"a": 1}'),
        ("JSON({'a': 10**25})", "application/json", ".json", '{"a": 10000000000000000000000000}'),
        ("display({'application/vnd.plotly.v1+json': {'data': []}}, raw=True)", None, ".json", '{"data": []}'),
    ],
)
async def test_rich_results_are_files_of_their_kind(
    here: Place, code: str, mime: str | None, name: str, content: str
) -> None:
    result = await here.run(code)

    (artifact,) = result.artifacts
    assert artifact.type == (mime or "application/vnd.plotly.v1+json")
    assert artifact.path.endswith(name)
    assert content.encode() in read(artifact.path)


async def test_an_updated_display_has_its_last_state_in_the_same_file(here: Place) -> None:
    result = await here.run(
        "handle = display(HTML('one'), display_id='it')\nhandle.update(HTML('two'))\nhandle.update(HTML('three'))\nNone"
    )

    (artifact,) = result.artifacts
    assert read(artifact.path) == b"three"
    prefix = Path(artifact.path).stem
    assert artifact.size == 5
    assert [name for name in listed(here.output) if name.startswith(prefix)] == [Path(artifact.path).name]


async def test_an_updated_text_replaces_the_one_before(here: Place) -> None:
    result = await here.run("handle = display('one', display_id=True)\nhandle.update('two')\n'value'")

    assert result.value.text == "'two'\n'value'"


async def test_an_update_of_an_earlier_cell_s_display_is_shown(here: Place) -> None:
    await here.run("handle = display('one', display_id=True)")

    assert await here.value("handle.update('two')") == "'two'"


async def test_cleared_output_takes_its_texts_and_files_away(here: Place) -> None:
    result = await here.run("display(HTML('gone'))\ndisplay('gone')\nclear_output()\ndisplay('stays')")

    assert (result.value.text, result.artifacts) == ("'stays'", ())


async def test_a_waiting_clear_acts_at_the_next_display(here: Place) -> None:
    stays = await here.run("display('stays')\nclear_output(wait=True)")
    goes = await here.run("for step in range(3):\n    clear_output(wait=True)\n    display(step)")

    assert stays.value.text == "'stays'"
    assert goes.value.text == "2"


async def test_a_broken_repr_of_the_value_is_an_error_text(here: Place) -> None:
    await here.run("class Broken:\n    def __repr__(self): raise ValueError('no words')")
    result = await here.run("Broken()")

    assert result.ending is Ending.ERROR
    assert result.error is not None
    assert (result.error.name, result.error.message) == ("ValueError", "no words")


async def test_a_broken_repr_of_something_displayed_is_told_and_the_cell_goes_on(here: Place) -> None:
    await here.run("class Broken:\n    def __repr__(self): raise ValueError('no words')")
    result = await here.run("display(Broken())\n'after'")

    assert (result.ending, result.value.text) == (Ending.COMPLETED, "'after'")
    assert "ValueError: no words" in result.stderr.text
    assert "\x1b" not in result.stderr.text


async def test_more_artifacts_than_are_kept_are_counted(here: Place) -> None:
    result = await here.run(f"for _ in range({ARTIFACTS_MAX + 5}): display(HTML('x'))")

    assert (len(result.artifacts), result.artifacts_dropped) == (ARTIFACTS_MAX, 5)


async def test_a_flood_of_displays_loses_none(here: Place) -> None:
    result = await here.run("for number in range(5000): display(number)")

    assert result.ending is Ending.COMPLETED
    assert result.value.lines == 5000


async def test_what_is_no_base64_is_said_and_not_saved(here: Place) -> None:
    result = await here.run("display({'image/png': 'no base64 at all!', 'text/plain': 'picture'}, raw=True)")

    assert result.ending is Ending.COMPLETED
    assert result.artifacts == ()
    assert result.note is not None
    assert "image/png could not be saved" in result.note


async def test_an_artifact_that_the_disk_has_no_room_for_is_said(here: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        result = await here.run("display(HTML('x' * 5000))\n'after'")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert result.ending is Ending.COMPLETED
    assert result.artifacts == ()
    assert result.note is not None
    assert "text/html could not be saved" in result.note


async def test_a_deleted_output_folder_is_made_again(here: Place) -> None:
    result = await here.run(f"import shutil\nshutil.rmtree({str(here.output)!r}, ignore_errors=True)\nHTML('x')")

    assert read(result.artifacts[0].path) == b"x"


async def test_a_display_from_a_thread_belongs_to_the_cell_that_runs(here: Place) -> None:
    result = await here.run(
        "import threading\nt = threading.Thread(target=display, args=('threaded',))\nt.start(); t.join()"
    )

    assert result.value.text == "'threaded'"
