"""Tools of MCP servers, over both transports, with a server that does what a test needs."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
import structlog

from sandbox.config_upstreams import McpServer
from sandbox.errors import InvalidArguments, NotFound, UpstreamInvalid, UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.mcp_servers import McpTools
from tests.support.mcp_running import EchoHttp, Notes, echo_stdio, tool_call

pytestmark = pytest.mark.anyio

SECRET = "only-the-server-knows-me"

Open: TypeAlias = Callable[..., Awaitable[McpTools]]


@pytest.fixture
def notes() -> Iterator[Notes]:
    heard = Notes()
    yield heard
    heard.close()


@pytest.fixture
async def opened(anyio_backend: str) -> AsyncIterator[Open]:
    """Open tools of servers; they are closed when the test ends."""
    all_of_them: list[McpTools] = []

    async def open_them(answer_max_bytes: int = 16 * MIB, **servers: McpServer) -> McpTools:
        tools = McpTools(servers, answer_max_bytes=answer_max_bytes)
        all_of_them.append(tools)
        await tools.start()
        return tools

    yield open_them
    for tools in all_of_them:
        await tools.aclose()


@pytest.fixture
def http(notes: Notes) -> Iterator[EchoHttp]:
    server = EchoHttp(notes.env)
    yield server
    server.kill()


@pytest.fixture(params=["stdio", "http", "http with JSON"])
def server(request: pytest.FixtureRequest, notes: Notes) -> Iterator[McpServer]:
    """The echo server over each transport."""
    if request.param == "stdio":
        yield echo_stdio({**notes.env, "TOKEN": SECRET})
        return
    running = EchoHttp(notes.env, *(["json"] if "JSON" in request.param else []))
    yield McpServer.model_validate({"url": running.url, "headers": {"TOKEN": SECRET}})
    running.kill()


async def data_of(tools: McpTools, slug: str, **arguments: Any) -> Any:
    answer = await tools.execute(tool_call(slug, **arguments))
    assert answer.error is None
    return msgspec.json.decode(answer.data)


async def test_tools_are_listed_over_all_pages_and_called_by_slug(opened: Open, server: McpServer) -> None:
    tools = await opened(echo=server)
    assert await tools.check() == "echo: 14 tools"
    listed = {info.slug: info for info in await tools.tools("echo")}
    assert len(listed) == 14
    assert (listed["ECHO_ODD_NAME_1"].name, listed["ECHO_ODD_NAME_1_2"].name) == ("Odd-name.1", "odd_name_1")
    assert await data_of(tools, "ECHO_ODD_NAME_1_2") == {"text": "odd_name_1"}
    assert await data_of(tools, "ECHO_ADD", a=1, b=2) == {"result": 3}
    assert await data_of(tools, "ECHO_STRUCTURED") == {"odd": [1, None, "ü"]}
    assert [info.name for info in await tools.find(["ECHO_ADD", "ECHO_NONE"])] == ["add"]
    assert (await data_of(tools, "ECHO_IMAGE"))["content"][1]["data"] == "aGVsbG8="


async def test_many_calls_at_once_each_get_their_own_answer(opened: Open, server: McpServer) -> None:
    tools = await opened(echo=server)
    texts = [f"text {number}" for number in range(100)]
    answers = await asyncio.gather(*(data_of(tools, "ECHO_ECHO", text=text) for text in texts))
    assert [answer["text"] for answer in answers] == texts


async def test_bad_arguments_and_unknown_tools_are_told_before_anything_is_sent(
    opened: Open, server: McpServer
) -> None:
    tools = await opened(echo=server)
    with pytest.raises(InvalidArguments, match=r"arguments\.b: is required"):
        await tools.execute(tool_call("ECHO_ADD", a=1))
    with pytest.raises(NotFound, match="has no tool ECHO_EKO") as caught:
        await tools.execute(tool_call("ECHO_EKO"))
    assert "ECHO_ECHO" in (caught.value.suggested_fix or "")
    assert not tools.claims("OTHER_TOOL")


async def test_a_tool_that_fails_gives_its_words(opened: Open, server: McpServer) -> None:
    answer = await (await opened(echo=server)).execute(tool_call("ECHO_FAIL", words="the disk is full"))
    assert answer.error == "the disk is full"


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(
    opened: Open, server: McpServer, notes: Notes
) -> None:
    tools = await opened(echo=server)
    call = asyncio.ensure_future(tools.execute(tool_call("ECHO_HANG", name="one")))
    assert await notes.next() == {"begun": "one"}
    call.cancel()
    assert await notes.next() == {"cancelled": "one"}
    assert await data_of(tools, "ECHO_ECHO", text="goes on") == {"text": "goes on"}


async def test_a_call_that_takes_too_long_is_cancelled_at_the_server(
    opened: Open, server: McpServer, notes: Notes
) -> None:
    tools = await opened(echo=server)
    await tools.check()
    with pytest.raises(UpstreamUnavailable, match=r"did not answer within 0\.5 s") as caught:
        await tools.execute(tool_call("ECHO_HANG", name="two", timeout_s=0.5))
    assert not caught.value.retry
    assert [await notes.next(), await notes.next()] == [{"begun": "two"}, {"cancelled": "two"}]


async def test_an_answer_over_the_bound_is_refused_and_the_connection_goes_on(opened: Open, server: McpServer) -> None:
    tools = await opened(answer_max_bytes=2 * MIB, echo=server)
    pid = await data_of(tools, "ECHO_PID")
    with pytest.raises(UpstreamInvalid, match="more than 2097152 bytes"):
        await tools.execute(tool_call("ECHO_LARGE", size=100 * MIB))
    assert await data_of(tools, "ECHO_PID") == pid
    assert len((await data_of(tools, "ECHO_LARGE", size=MIB))["text"]) == MIB


async def test_a_tool_that_is_new_can_be_called_when_the_server_says_so(opened: Open, server: McpServer) -> None:
    tools = await opened(echo=server)
    await data_of(tools, "ECHO_GROW", name="fresh")
    async with asyncio.timeout(20):
        while len(await tools.tools()) < 15:
            await data_of(tools, "ECHO_ECHO", text="meanwhile")
    assert await data_of(tools, "ECHO_FRESH") == {"text": "fresh"}


async def test_what_is_configured_reaches_the_server_and_nothing_else(opened: Open, server: McpServer) -> None:
    with structlog.testing.capture_logs() as lines:
        tools = await opened(echo=server)
        digest = await data_of(tools, "ECHO_DIGEST", name="TOKEN")
        assert digest == {"text": hashlib.sha256(SECRET.encode()).hexdigest()}
        shown = repr((lines, await tools.toolkits(), await tools.tools(), server))
    assert SECRET not in shown


async def test_a_server_killed_during_a_call_is_started_again_for_the_next(opened: Open, notes: Notes) -> None:
    tools = await opened(echo=echo_stdio(notes.env))
    first = await data_of(tools, "ECHO_PID")
    others = [asyncio.ensure_future(tools.execute(tool_call("ECHO_HANG", name=str(n)))) for n in range(3)]
    for _ in others:
        await notes.next()
    with pytest.raises(UpstreamUnavailable, match="exit code 3; its last words: no more") as caught:
        await tools.execute(tool_call("ECHO_DIE", words="no more"))
    assert not caught.value.retry
    ended = await asyncio.gather(*others, return_exceptions=True)
    assert all(isinstance(error, UpstreamUnavailable) and not error.retry for error in ended)
    assert await data_of(tools, "ECHO_PID") != first
    assert (await tools.toolkits())[0].healthy


async def test_a_server_behind_a_url_that_was_started_again_is_found(
    opened: Open, http: EchoHttp, notes: Notes
) -> None:
    tools = await opened(echo=McpServer.model_validate({"url": http.url}))
    first = await data_of(tools, "ECHO_PID")
    call = asyncio.ensure_future(tools.execute(tool_call("ECHO_HANG", name="x")))
    await notes.next()
    http.kill()
    with pytest.raises(UpstreamUnavailable, match="broke the connection during the call") as caught:
        await call
    assert not caught.value.retry
    with pytest.raises(UpstreamUnavailable) as caught:
        await tools.execute(tool_call("ECHO_PID"))
    assert caught.value.retry
    kit = (await tools.toolkits())[0]
    assert (kit.healthy, kit.tools) == (False, 14)
    http.start()
    assert await data_of(tools, "ECHO_PID") != first


async def test_garbage_on_standard_output_harms_no_call(opened: Open, notes: Notes) -> None:
    tools = await opened(echo=echo_stdio(notes.env))
    assert await data_of(tools, "ECHO_GARBAGE") == {"text": "after garbage"}


async def test_a_text_that_begins_like_endless_json_is_a_text(opened: Open, notes: Notes) -> None:
    tools = await opened(echo=echo_stdio(notes.env))
    assert await data_of(tools, "ECHO_ECHO", text="[" * 50_000) == {"text": "[" * 50_000}


async def test_a_server_that_starts_slowly_is_waited_for(opened: Open, notes: Notes, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tools = await opened(echo=echo_stdio({**notes.env, "MCP_ECHO_GATE": str(gate)}))
    assert (await tools.toolkits())[0].healthy is None
    with pytest.raises(UpstreamUnavailable, match="did not answer within"):
        await tools.execute(tool_call("ECHO_ECHO", text="early", timeout_s=0.1))
    call = asyncio.ensure_future(data_of(tools, "ECHO_ECHO", text="patient"))
    await asyncio.to_thread(gate.write_bytes, b"go")
    assert await call == {"text": "patient"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/no/such/program"], "No such file or directory"),
        (["sh", "-c", f"echo 'bad key {SECRET}' >&2; exit 4"], r"exit code 4; its last words: bad key \[credential\]"),
    ],
)
async def test_a_server_that_does_not_start_says_why_without_credentials(
    opened: Open, command: list[str], words: str
) -> None:
    tools = await opened(bad=McpServer.model_validate({"command": command, "env": {"TOKEN": SECRET}}))
    with pytest.raises(UpstreamUnavailable, match=words):
        await tools.execute(tool_call("BAD_TOOL"))
    with pytest.raises(UpstreamUnavailable, match=words):
        await tools.check()
    assert (await tools.toolkits())[0].healthy is False


async def test_closing_leaves_no_process(opened: Open, notes: Notes) -> None:
    # The shell is the server's parent and would outlive a signal to itself alone.
    script = f"trap '' TERM; {' '.join(echo_stdio({}).command)}; true"
    tools = await opened(echo=McpServer.model_validate({"command": ["sh", "-c", script], "env": notes.env}))
    child = (await data_of(tools, "ECHO_PID"))["result"]
    call = asyncio.ensure_future(tools.execute(tool_call("ECHO_HANG", name="x")))
    await notes.next()
    await tools.aclose()
    with pytest.raises(UpstreamUnavailable):
        await call
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    with pytest.raises(UpstreamUnavailable, match="the controller stops"):
        await tools.execute(tool_call("ECHO_PID"))


async def test_a_server_that_ignores_the_end_of_its_input_is_killed(opened: Open) -> None:
    tools = await opened(deaf=McpServer.model_validate({"command": ["sh", "-c", "trap '' TERM; sleep 1000 <&-"]}))
    kits = await tools.toolkits()
    assert kits[0].healthy is None
    await tools.aclose()
    await tools.aclose()


async def test_a_server_killed_from_outside_is_started_again(opened: Open, notes: Notes) -> None:
    tools = await opened(echo=echo_stdio(notes.env))
    pid = (await data_of(tools, "ECHO_PID"))["result"]
    os.kill(pid, signal.SIGKILL)
    with suppress(UpstreamUnavailable):  # it may be written before the end is seen
        await data_of(tools, "ECHO_PID")
    assert (await data_of(tools, "ECHO_PID"))["result"] != pid
