"""MCP servers that repeat what they were sent, say too much, or flood."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from sandbox.config_upstreams import McpServer
from sandbox.errors import UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.credentials import Scrubber
from sandbox.upstreams.mcp_servers import McpTools
from sandbox.upstreams.mcp_stdio import open_stdio
from tests.support.faulty_server import Fault
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


async def test_a_list_of_tools_is_bounded_in_all_its_pages_together(tools: McpTools, server: OddMcpServer) -> None:
    server.tools = [{"name": "t", "inputSchema": {"type": "object"}, "description": "x" * 6 * MIB}]
    server.pages = 5
    assert await tools.check() == "odd: 5 tools"
    await tools.aclose()
    server.pages = 6
    more = McpTools({"odd": McpServer.model_validate({"url": f"{server.url}/mcp"})}, answer_max_bytes=64 * MIB)
    try:
        with pytest.raises(UpstreamUnavailable, match="more than is looked at"):
            await more.check()
    finally:
        await more.aclose()


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


@pytest.mark.parametrize(
    ("authorization", "session", "words"),
    [(f"Bearer {TOKEN}\n", None, "control character"), (f"Bearer {TOKEN}", "a\x01b", "control character|no name")],
    ids=["a header of the setting", "the name of its session"],
)
async def test_a_server_that_no_request_can_be_written_for_is_shown_with_its_trouble_and_tried_again(
    server: OddMcpServer, authorization: str, session: str | None, words: str
) -> None:
    server.session = session
    odd = McpServer.model_validate({"url": f"{server.url}/mcp", "headers": {"Authorization": authorization}})
    tools = McpTools({"odd": odd}, answer_max_bytes=MIB)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tools.aclose)
        for _ in range(2):
            # The second one waits for the next attempt.
            with pytest.raises(UpstreamUnavailable, match=words) as raised:
                await tools.execute(tool_call("ODD_REPEAT", timeout_s=5))
            assert TOKEN not in raised.value.message
        assert (await tools.toolkits())[0].healthy is False


async def test_closing_while_the_end_of_a_session_is_told_leaves_no_connection_open(server: OddMcpServer) -> None:
    server.session, server.clings = "one", True
    server.tools = "none"  # so that the session ends right after it began
    tools = McpTools({"odd": McpServer.model_validate({"url": f"{server.url}/mcp"})}, answer_max_bytes=MIB)
    await tools.start()
    async with asyncio.timeout(10):
        await server.ending.wait()
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        await tools.aclose()
        del tools
        gc.collect()
    assert not unclosed


KEY = "K3y-of-the-query"


async def trouble_of(**server: Any) -> str:
    """Why a server cannot be used, as who calls it is told."""
    tools = McpTools({"odd": McpServer.model_validate(server)}, answer_max_bytes=MIB)
    try:
        with pytest.raises(UpstreamUnavailable) as raised:
            await tools.execute(tool_call("ODD_REPEAT"))
    finally:
        await tools.aclose()
    return raised.value.message


@pytest.mark.parametrize(("fault", "words"), [(Fault.NOT_HTTP, "is not HTTP"), (Fault.REDIRECT_AWAY, "[credential]")])
async def test_a_credential_in_the_url_of_a_server_is_in_no_error(
    server: OddMcpServer, fault: Fault, words: str
) -> None:
    path = "/s/9f86d081884c7d659a2feaa0c55ad015/mcp"
    server.always, server.redirect_to = fault, f"http://elsewhere{path}/?apiKey={KEY}"
    said = await trouble_of(url=f"{server.url}{path}?apiKey={KEY}")
    assert words in said
    assert KEY not in said
    assert "9f86d081" not in said


@pytest.mark.parametrize(
    "arguments",
    [("--api-key", KEY), (f"--token={KEY}",), ("--header", f"Authorization: Bearer {KEY}"), (f"API_KEY={KEY}",)],
)
async def test_a_credential_in_the_command_of_a_server_is_in_no_error(arguments: tuple[str, ...]) -> None:
    said = await trouble_of(command=["sh", "-c", 'echo "what is: $*" >&2; exit 3', "server", *arguments])
    assert "what is: " in said
    assert "[credential]" in said
    assert KEY not in said


async def test_of_a_line_that_comes_in_parts_no_half_of_a_credential_is_said() -> None:
    script = 'yes "$TOKEN" | head -n 10000 | tr -d "\\n" >&2; echo >&2; exit 3'
    said = await trouble_of(command=["sh", "-c", script], env={"TOKEN": KEY})
    assert "exit code 3; its last words: [credential]" in said
    assert "query" not in said


async def test_a_program_that_asks_and_does_not_read_the_answers_fills_no_memory() -> None:
    ping, changed = '{"jsonrpc":"2.0","id":1,"method":"ping"}', '{"method":"notifications/tools/list_changed"}'
    script = f"yes '{ping}' | head -n 200000; echo '{changed}'; exec sleep 1000"
    all_read = asyncio.Event()
    server = McpServer.model_validate({"command": ["sh", "-c", script]})
    link = await open_stdio("it", server, Scrubber([]), all_read.set, max_bytes=MIB)
    try:
        async with asyncio.timeout(30):
            await all_read.wait()
        assert link._stdin.transport.get_write_buffer_size() < 2 * MIB
    finally:
        await link.aclose()
