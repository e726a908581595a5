"""MCP servers that repeat what they were sent, say too much, or flood."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from sandbox.config_upstreams import McpServer
from sandbox.errors import UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.mcp_servers import McpTools
from tests.support.mcp_odd import OddMcpServer
from tests.support.mcp_running import ECHO, Notes, tool_call

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TOKEN = "only/the+server==knows me"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "X-Api-Key": "another-secret-of-it", "X-Tenant": "the-tenant-of-all"}


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[OddMcpServer]:
    made = OddMcpServer()
    async with made.serving():
        yield made


@pytest.fixture
async def tools(server: OddMcpServer) -> AsyncIterator[McpTools]:
    odd = McpServer.model_validate({"url": f"{server.url}/mcp", "headers": HEADERS})
    made = McpTools({"odd": odd}, answer_max_bytes=64 * MIB)
    yield made
    await made.aclose()


async def test_credentials_that_a_tool_repeats_are_taken_out_and_other_headers_are_not(
    tools: McpTools, server: OddMcpServer
) -> None:
    await tools.start()
    answer = await tools.execute(tool_call("ODD_REPEAT"))
    said = msgspec.json.decode(answer.data)
    assert server.seen[-1].headers["authorization"] == HEADERS["Authorization"]
    assert (said["authorization"], said["x-api-key"]) == ("[credential]", "[credential]")
    assert said["x-tenant"] == "the-tenant-of-all"
    assert TOKEN.encode() not in bytes(answer.data)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("GITHUB_TOKEN", True), ("db_password", True), ("AUTH", True), ("TZ", False), ("GIT_AUTHOR_NAME", False)],
)
async def test_of_the_variables_of_a_server_those_with_the_name_of_a_credential_are_taken_out(
    name: str, hidden: bool
) -> None:
    notes = Notes()
    async with AsyncExitStack() as stack:
        stack.callback(notes.close)
        given = {"command": ECHO, "env": {**notes.env, name: "Europe/Berlin"}}
        tools = McpTools({"echo": McpServer.model_validate(given)}, answer_max_bytes=MIB)
        stack.push_async_callback(tools.aclose)
        answer = await tools.execute(tool_call("ECHO_ECHO", text="in Europe/Berlin"))
    assert msgspec.json.decode(answer.data) == {"text": "in [credential]" if hidden else "in Europe/Berlin"}


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([{"name": f"t{number}", "inputSchema": {"type": "object"}} for number in range(10_001)], "10000 is the most"),
        ([{"name": "t", "inputSchema": {"type": "object", "enum": [[]] * 1_100_000}}], "more than is looked at"),
        ([{"name": "t", "inputSchema": {"type": "object"}, "description": "x" * 33 * MIB}], "more than is looked at"),
    ],
    ids=["tools", "values", "bytes"],
)
async def test_a_list_of_tools_that_is_too_much_is_refused_before_objects_are_made_of_it(
    tools: McpTools, server: OddMcpServer, listed: Any, words: str
) -> None:
    server.tools = listed
    with pytest.raises(UpstreamUnavailable, match=words):
        await tools.check()


async def test_a_server_whose_tools_change_whenever_they_are_listed_is_not_asked_without_end(
    tools: McpTools, server: OddMcpServer
) -> None:
    server.restless = True
    for _ in range(300):
        await tools.execute(tool_call("ODD_REPEAT"))
    assert 1 <= server.count("tools/list") < 30


async def test_a_server_that_asks_faster_than_it_is_answered_gets_few_answers_and_holds_up_nobody(
    tools: McpTools, server: OddMcpServer
) -> None:
    server.pings = 50_000
    for _ in range(20):
        await tools.execute(tool_call("ODD_REPEAT"))
    assert server.count("") < 5_000
