"""`workbench mcp`, driven by the SDK's client as a desktop program does."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from tests.api.conftest import KEY, ROOT, WORKBENCH, Server, running_server
from tests.mcp.test_content import images_of, links_of, read_text
from tests.mcp.test_progress import ENDLESS, WITHIN_S, Heard, all_ended
from tests.mcp.test_tools import answer_of

pytestmark = pytest.mark.anyio


def parameters(server: Server, *arguments: str, key: str = KEY) -> StdioServerParameters:
    """How the program starts the command."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "sandbox.cli", "mcp", *arguments],
        env={"WORKBENCH_URL": server.url, "WORKBENCH_API_KEY": key, "PYTHONPATH": str(ROOT)},
        cwd=server.data_dir,
    )


@asynccontextmanager
async def started(server: Server, errors: TextIO, *arguments: str, mode: str = "legacy") -> AsyncIterator[Client]:
    """Start the command and connect to it."""
    async with Client(stdio_client(parameters(server, *arguments), errors), mode=mode) as client:
        yield client


@pytest.fixture
def errors(tmp_path: Path) -> Iterator[TextIO]:
    """Where the command's standard error goes."""
    with (tmp_path / "errors").open("w") as file:
        yield file


def said_in(errors: TextIO) -> str:
    """What the command said on standard error."""
    return Path(errors.name).read_text()


async def test_the_command_serves_the_tools_and_says_nothing_else(
    server: Server, errors: TextIO, path: str, mode: str
) -> None:
    label = path.split("/")[2]
    async with started(server, errors, "--session", label, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "kept between calls" in str(client.instructions)
        await client.call_tool(WORKBENCH, {"code_to_execute": "x = 4"})
        answer = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "x"}))
    assert WORKBENCH in names
    assert answer["data"]["results"] == "4"
    assert said_in(errors) == ""
    async with started(server, errors, "--session", label, mode=mode) as client:
        again = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "x"}))
    assert again["data"]["results"] == "4"


async def test_images_links_and_files_pass_through(server: Server, errors: TextIO, path: str) -> None:
    code = "from IPython.display import *\nfor n in range(50_000): print('line', n)\n"
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    code += f"import base64; display(Image(base64.b64decode('{png}'), format='png'))"
    async with started(server, errors, "--session", path.split("/")[2]) as client:
        result = await client.call_tool(WORKBENCH, {"code_to_execute": code})
        listed = (await client.list_resources()).resources
        text = await read_text(client, next(link.uri for link in links_of(result) if "stdout" in link.name))
    assert len(images_of(result)) == 1
    assert listed
    assert text.endswith("line 49999\n")


async def test_progress_and_cancellation_pass_through(server: Server, errors: TextIO, path: str) -> None:
    heard = Heard()
    async with started(server, errors, "--session", path.split("/")[2]) as client:

        async def call() -> None:
            await client.call_tool(WORKBENCH, {"code_to_execute": ENDLESS}, progress_callback=heard)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            with anyio.fail_after(WITHIN_S):
                await heard.begun.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(WITHIN_S):
            await all_ended(server, path)


async def test_without_a_label_the_session_ends_with_the_command(server: Server, errors: TextIO) -> None:
    async with started(server, errors) as client:
        answer = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "1"}))
        with pytest.raises(MCPError, match="No tool"):
            await client.call_tool("NO_SUCH_TOOL", {})
    with server.client() as http:
        assert http.get(f"/v1/sessions/{answer['data']['session']['id']}").status_code == 404


async def test_a_controller_that_is_started_anew_goes_on_serving_the_same_program(
    data_dir: Path, errors: TextIO
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = {"api_keys": KEY, "port": str(probe.getsockname()[1])}
    with contextlib.ExitStack() as first:
        server = first.enter_context(running_server(data_dir, **settings))
        async with started(server, errors, "--session", "kept") as client:
            before = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "1"}))
            await anyio.to_thread.run_sync(first.close)
            with pytest.raises(MCPError, match="No controller answers"):
                await client.call_tool(WORKBENCH, {"code_to_execute": "2"})
            with running_server(data_dir, **settings):
                after = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "3"}))
    assert after["data"]["results"] == "3"
    assert after["data"]["session"]["id"] == before["data"]["session"]["id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"WORKBENCH_URL": "http://127.0.0.1:9"}, "No controller answers at http://127.0.0.1:9"),
        ({"WORKBENCH_API_KEY": "wrong"}, "This API key is not known here"),
    ],
)
def test_what_is_wrong_at_the_start_is_said_on_standard_error(
    server: Server, change: dict[str, str], words: str
) -> None:
    given = parameters(server)
    ended = subprocess.run(
        [given.command, *given.args],
        env={**os.environ, **(given.env or {}), **change},
        cwd=server.data_dir,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert words in ended.stderr
    assert ended.stdout == ""
