"""What a client hears of a call while it runs, and how it ends one."""

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup
from mcp import Client

from tests.api.conftest import KEY, PLAIN, WORKBENCH, Server
from tests.mcp.conftest import connected
from tests.mcp.test_tools import answer_of

pytestmark = pytest.mark.anyio

WITHIN_S = 20.0
ENDLESS = "import time\nprint('begun', flush=True)\nwhile True:\n    time.sleep(0.05)"


class Heard:
    """Progress as the client's callback gets it."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.text = ""
        self.begun = anyio.Event()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.values.append(progress)
        self.text += message or ""
        if "begun" in self.text:
            self.begun.set()


def running(server: Server, path: str) -> int:
    """How many executions of the session have not ended."""
    with server.client() as http:
        items = http.get(f"/v1/sessions/{path.split('/')[2]}/executions").raise_for_status().json()["items"]
    return sum(item["state"] != "ended" for item in items)


async def all_ended(server: Server, path: str) -> None:
    """Follow what runs in the session to its end."""
    label = path.split("/")[2]
    async with httpx.AsyncClient(base_url=server.url, headers={"x-api-key": KEY}, timeout=60, **PLAIN) as http:
        items = (await http.get(f"/v1/sessions/{label}/executions")).raise_for_status().json()["items"]
        for item in items:
            (await http.get(f"/v1/executions/{item['execution_id']}/events")).raise_for_status()


async def test_output_comes_as_progress_that_never_goes_back(server: Server, path: str, mode: str) -> None:
    heard = Heard()
    code = "import time\nfor n in range(4):\n    print('line', n, flush=True)\n    time.sleep(0.3)"
    async with connected(server, path, mode=mode) as client:
        answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": code}, progress_callback=heard))
    assert "line 0\n" in heard.text
    assert "line 2\n" in heard.text
    assert heard.values == sorted(set(heard.values))


async def test_a_flood_of_output_is_few_notifications_of_bounded_length(server: Server, path: str, mode: str) -> None:
    lengths: list[int] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        lengths.append(len(message or ""))

    code = "for n in range(200_000):\n    print('a line of output', n)"
    async with connected(server, path, mode=mode) as client:
        answer = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": code}, progress_callback=heard))
    assert answer["successful"]
    assert lengths
    assert max(lengths) <= 1000


async def test_a_client_that_cancels_interrupts_what_runs(server: Server, path: str, mode: str) -> None:
    heard = Heard()
    async with connected(server, path, mode=mode) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(_call, client, heard)
            with anyio.fail_after(WITHIN_S):
                await heard.begun.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(WITHIN_S):
            await all_ended(server, path)
        answer = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "'usable'"}))
    assert answer["data"]["results"] == "'usable'"


async def _call(client: Client, heard: Heard) -> None:
    await client.call_tool(WORKBENCH, {"code_to_execute": ENDLESS}, progress_callback=heard)


async def test_the_end_of_a_connection_interrupts_what_runs_in_it(server: Server, path: str) -> None:
    heard = Heard()

    async def call_and_leave(group: TaskGroup) -> None:
        async with connected(server, path) as client, anyio.create_task_group() as calls:
            calls.start_soon(_call, client, heard)
            await heard.begun.wait()
            calls.cancel_scope.cancel()
        group.cancel_scope.cancel()

    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as group:
            group.start_soon(call_and_leave, group)
        await all_ended(server, path)
    assert running(server, path) == 0
