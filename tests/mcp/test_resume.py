"""Response streams that are cut: the call goes on for a while, and what it said is said again to who asks for it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from mcp.server.streamable_http import EventMessage
from mcp.types import JSONRPCMessage, JSONRPCNotification, JSONRPCResponse

from sandbox.api.mcp_connections import Connection
from sandbox.api.mcp_events import ConnectionEvents, EventLog
from sandbox.api.mcp_road import Road
from tests.api.conftest import KEY, PLAIN, WORKBENCH, Server
from tests.mcp.raw import ACCEPT, call, connect, events_of
from tests.mcp.test_progress import ENDLESS, WITHIN_S, all_ended

pytestmark = pytest.mark.anyio

COUNTS = """
import time
runs = globals().get('runs', 0) + 1
print('begun', flush=True)
for n in range(20):
    print('line', n, flush=True)
    time.sleep(0.1)
runs
"""


@asynccontextmanager
async def http_of(server: Server, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    """A client for raw requests."""
    async with httpx.AsyncClient(base_url=server.url, headers={"x-api-key": key}, timeout=60, **PLAIN) as http:
        yield http


async def begin_and_cut(http: httpx.AsyncClient, path: str, headers: dict[str, str], code: str) -> str:
    """Call the tool and cut the stream at the first progress; the id of the last event that was read."""
    body = call(WORKBENCH, {"code_to_execute": code}, number=7, token="t")
    async with http.stream("POST", path, json=body, headers=headers) as response:
        async for event_id, said in events_of(response):
            if said is not None and said.get("method") == "notifications/progress":
                return event_id
    raise AssertionError("the stream ended without progress")


async def resumed(http: httpx.AsyncClient, path: str, headers: dict[str, str], after: str) -> list[dict[str, Any]]:
    """What follows an event on its stream, to the end of that."""
    with anyio.fail_after(WITHIN_S):
        async with http.stream("GET", path, headers={**headers, "last-event-id": after}) as response:
            assert response.status_code == 200
            return [said async for _, said in events_of(response) if said is not None]


async def test_a_resumed_stream_gives_the_rest_and_the_answer_and_runs_nothing_again(server: Server, path: str) -> None:
    with server.client() as client:
        headers = connect(client, path)
    async with http_of(server) as http:
        after = await begin_and_cut(http, path, headers, COUNTS)
        said = await resumed(http, path, headers, after)
        again = await resumed(http, path, headers, after)
    assert said[0]["method"] == "notifications/progress"
    assert said[-1]["id"] == 7
    assert said[-1]["result"]["structuredContent"]["data"]["results"].splitlines()[-1] == "1"
    assert again == said
    assert server.run("runs", session=path.split("/")[2])["data"]["results"] == "1"


async def test_a_call_that_ended_while_nobody_listened_is_answered_later(server: Server, path: str) -> None:
    with server.client() as client:
        headers = connect(client, path)
    async with http_of(server) as http:
        after = await begin_and_cut(
            http, path, headers, "import time\nprint('begun', flush=True)\ntime.sleep(1)\n'done'"
        )
        await all_ended(server, path)
        said = await resumed(http, path, headers, after)
    assert said[-1]["result"]["structuredContent"]["data"]["results"].endswith("'done'")


@pytest.mark.parametrize("event_id", ["0", "x", "9999999999999999999999-1", "1-", "99999-no-such-stream"])
async def test_an_id_of_no_event_resumes_nothing(server: Server, path: str, event_id: str) -> None:
    with server.client() as client:
        headers = connect(client, path)
    async with http_of(server) as http:
        assert await resumed(http, path, headers, event_id) == []


async def test_an_event_of_one_connection_is_nothing_to_another(server: Server, path: str) -> None:
    with server.client() as client:
        mine, other = connect(client, path), connect(client, path)
    async with http_of(server) as http:
        after = await begin_and_cut(http, path, mine, COUNTS)
        assert await resumed(http, path, other, after) == []
        assert (await resumed(http, path, mine, after))[-1]["id"] == 7


@pytest.mark.parametrize("connection", [True, False], ids=["old protocol", "no connection"])
async def test_a_client_that_cannot_resume_interrupts_by_leaving(server: Server, path: str, connection: bool) -> None:
    label = path.split("/")[2]
    headers = ACCEPT
    if connection:
        with server.client() as client:
            headers = connect(client, path, "2025-06-18")
    async with http_of(server) as http:
        body = call(WORKBENCH, {"code_to_execute": ENDLESS})
        async with http.stream("POST", path, json=body, headers=headers):
            await begun(http, label)
        with anyio.fail_after(WITHIN_S):
            await all_ended(server, path)


async def begun(http: httpx.AsyncClient, label: str) -> None:
    """Wait until the first output of what runs in a session."""
    with anyio.fail_after(WITHIN_S):
        items: list[dict[str, Any]] = []
        while not items:
            found = await http.get(f"/v1/sessions/{label}/executions")
            items = found.json().get("items", [])
        async with http.stream("GET", f"/v1/executions/{items[0]['execution_id']}/events") as events:
            async for line in events.aiter_lines():
                if "begun" in line:
                    return


async def test_a_call_that_nobody_resumes_is_ended() -> None:
    events = ConnectionEvents(EventLog(10_000))
    connection = Connection("own_1", "label", events, idle_s=60, resume_s=0.01)
    road = Road("own_1", None, "label")
    connection._roads["1"] = road
    await events.store_event("1", None)
    with anyio.fail_after(WITHIN_S), road.taken():
        with connection._listening("1"):
            pass
        await anyio.sleep_forever()
    assert not connection._roads


def progress(number: int) -> JSONRPCMessage:
    """A message of a stream."""
    return JSONRPCNotification(jsonrpc="2.0", method="notifications/progress", params={"progress": number})


async def test_events_are_bounded_over_all_connections_and_the_oldest_go_first() -> None:
    log = EventLog(3_000)
    mine, other = ConnectionEvents(log), ConnectionEvents(log)
    first = await mine.store_event("1", None)
    for number in range(50):
        await (mine if number % 2 else other).store_event("1", progress(number))
    await mine.store_event("1", JSONRPCResponse(jsonrpc="2.0", id=1, result={"x": "y"}))
    said: list[EventMessage] = []

    async def send(message: EventMessage) -> None:
        said.append(message)

    assert log.kept_bytes <= 3_000
    await mine.replay_events_after(first, send)
    kept = [json.loads(each.message.model_dump_json(by_alias=True)) for each in said]
    assert kept[-1]["result"] == {"x": "y"}
    assert [each["params"]["progress"] for each in kept[:-1]] == sorted(range(49, 49 - 2 * (len(kept) - 1), -2))


async def test_nothing_is_held_for_a_connection_that_ended() -> None:
    log = EventLog(3_000)
    events = ConnectionEvents(log)
    await events.store_event("1", progress(1))
    events.close()
    assert log.kept_bytes == 0
