"""Answers of upstreams take no more memory together than they may: one waits for room, then is refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.config_upstreams import McpServer, ProxyHost
from sandbox.errors import UpstreamInvalid
from sandbox.limits import MIB
from sandbox.upstreams.answer_room import FREE_BYTES, AnswerRoom, Coming
from sandbox.upstreams.base import Principal, ProxyAnswer, ProxyCall
from sandbox.upstreams.mcp_servers import McpTools
from sandbox.upstreams.proxy_hosts import HostProxy
from tests.support.faulty_server import FaultyServer, Reply, Seen
from tests.support.mcp_running import EchoHttp, Notes, echo_stdio, tool_call

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

LARGE = 3 * MIB
ROOM = 4 * MIB


async def answered(size: int = LARGE, *, expected: int | None = None) -> None:
    """Let an answer come, as a transport does."""
    with Coming("It", 16 * MIB, expected) as coming:
        for there in range(0, size + 1, 100_000):
            if there > coming.covered:
                await coming.cover(there)
        coming.keep(size)


@pytest.mark.parametrize("expected", [None, LARGE])
async def test_an_answer_waits_until_another_is_held_no_longer(expected: int | None) -> None:
    room = AnswerRoom(ROOM)
    other = asyncio.Event()

    async def hold() -> None:
        with room.holding():
            await answered(expected=expected)
            other.set()

    with room.holding():
        await answered()
        waiting = asyncio.ensure_future(asyncio.wait_for(hold(), 30))
        # A task begun in here would be counted here.
        assert await asyncio.sleep(0, other.is_set()) is False
    await waiting


async def test_an_answer_that_finds_no_room_in_time_is_refused_and_what_failed_is_not_held() -> None:
    room = AnswerRoom(ROOM, wait_s=0)
    with room.holding():
        await answered()
        for _ in range(3):
            with pytest.raises(UpstreamInvalid, match="has answered, and there is no room") as refused:
                await answered()
        assert "tool_answers_max_bytes" in (refused.value.suggested_fix or "")
        assert not refused.value.retry
        await answered(FREE_BYTES)
    with room.holding():
        await answered()


async def test_what_is_kept_is_counted_as_large_as_it_is() -> None:
    room = AnswerRoom(ROOM, wait_s=0)
    with room.holding():
        for _ in range(8):
            await answered(FREE_BYTES + ROOM // 8, expected=FREE_BYTES + ROOM // 8)
        with pytest.raises(UpstreamInvalid):
            await answered(FREE_BYTES + ROOM // 8)


async def test_an_answer_larger_than_all_room_is_refused_at_once() -> None:
    with AnswerRoom(ROOM).holding(), pytest.raises(UpstreamInvalid, match=f"{ROOM} bytes"):
        await answered(16 * MIB, expected=16 * MIB)


async def test_answers_are_held_as_long_as_the_outermost_that_asked() -> None:
    room = AnswerRoom(ROOM, wait_s=0)
    with room.holding():
        with room.holding():
            await answered()
        with pytest.raises(UpstreamInvalid):
            await answered()


async def test_a_task_that_outlives_who_held_answers_holds_its_own() -> None:
    room = AnswerRoom(ROOM, wait_s=0)
    go = asyncio.Event()

    async def later() -> None:
        await go.wait()
        with room.holding():
            await answered()
            with pytest.raises(UpstreamInvalid):
                await answered()

    with room.holding():
        task = asyncio.ensure_future(later())
        await answered()
    go.set()
    await task


# --- over real transports -----------------------------------------------------------------------------------


class Large(FaultyServer):
    async def answer(self, request: Seen) -> Reply:
        return Reply(200, b'"' + b"x" * LARGE + b'"', {"content-type": "application/json"})


@pytest.fixture
async def proxy(anyio_backend: str) -> AsyncIterator[HostProxy]:
    server = Large()
    async with server.serving():
        made = HostProxy({"a": ProxyHost.model_validate({"base_url": server.url})})
        yield made
        await made.aclose()


async def asked(proxy: HostProxy) -> ProxyAnswer:
    return await proxy.request(ProxyCall("a", "GET", "/", Principal("session", "owner"), 30))


async def test_an_answer_over_http_that_finds_no_room_is_refused(proxy: HostProxy) -> None:
    room = AnswerRoom(ROOM, wait_s=0)
    for _ in range(2):
        with room.holding():
            assert len((await asked(proxy)).data) == LARGE + 2
            with pytest.raises(UpstreamInvalid, match=r"The API of a has answered, and there is no room"):
                await asked(proxy)


@pytest.fixture
def notes() -> Iterator[Notes]:
    heard = Notes()
    yield heard
    heard.close()


@pytest.fixture(params=["stdio", "http", "http with JSON"])
def server(request: pytest.FixtureRequest, notes: Notes) -> Iterator[McpServer]:
    if request.param == "stdio":
        yield echo_stdio(notes.env)
        return
    running = EchoHttp(notes.env, *(["json"] if "JSON" in request.param else []))
    yield McpServer.model_validate({"url": running.url})
    running.kill()


async def test_an_answer_of_an_mcp_server_that_finds_no_room_is_refused_and_the_connection_goes_on(
    server: McpServer,
) -> None:
    tools = McpTools({"echo": server}, answer_max_bytes=64 * MIB)
    room = AnswerRoom(ROOM, wait_s=0)
    try:
        for _ in range(2):
            with room.holding():
                assert len((await tools.execute(tool_call("ECHO_LARGE", size=LARGE))).data) > LARGE
                with pytest.raises(UpstreamInvalid, match="has answered, and there is no room"):
                    await tools.execute(tool_call("ECHO_LARGE", size=LARGE))
                assert (await tools.execute(tool_call("ECHO_ECHO", text="small"))).error is None
    finally:
        await tools.aclose()
