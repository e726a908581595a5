"""How calls at the gateway end: at their deadline, cancelled, with the gateway, and by a defect of ours."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sandbox.errors import UpstreamInvalid
from sandbox.gateway.methods.proxy import ProxyArguments
from sandbox.limits import MIB
from sandbox.upstreams.base import ToolAnswer, ToolCall
from tests.gateway.conftest import Flaky, MakeCalls, ToolSource, a_session, raw
from tests.support import composio_backend, model_server
from tests.support.faulty_server import Fault, FaultyServer, Reply, Seen, json_reply

pytestmark = pytest.mark.anyio


class Held:
    """A source that holds each call until `release`; `begun` is set by the first."""

    def __init__(self) -> None:
        self.begun, self.release = asyncio.Event(), asyncio.Event()
        self.source = ToolSource(self._answer)

    async def _answer(self, _call: ToolCall) -> ToolAnswer:
        self.begun.set()
        await self.release.wait()
        return ToolAnswer(raw({}))


async def test_a_call_ends_at_its_deadline_and_the_request_with_it(make_calls: MakeCalls) -> None:
    backend = composio_backend.ComposioBackend()
    backend.always = Fault.SILENT
    async with backend.serving():
        calls = make_calls(composio_base_url=backend.url, composio_api_key=composio_backend.KEY)
        answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, timeout_s=0.3)
        async with asyncio.timeout(10):
            await backend.abandoned.acquire()
    assert answer.error


async def test_a_call_that_waits_for_its_turn_ends_at_its_deadline_unsent(make_calls: MakeCalls) -> None:
    held = Held()
    calls = make_calls(held.source, helper_calls_at_once=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(calls.ask("run_composio_tool", {"tool_slug": "TEST_HOLD"}))
        await held.begun.wait()
        late = await calls.ask("run_composio_tool", {"tool_slug": "TEST_HOLD"}, timeout_s=0.05)
        held.release.set()
    assert "was not sent" in late.error
    assert len(held.source.calls) == 1


async def test_a_cancelled_call_cancels_its_request_gives_its_turn_back_and_is_audited(make_calls: MakeCalls) -> None:
    model = model_server.ModelServer()
    model.always = Fault.SILENT
    async with model.serving():
        calls = make_calls(
            model_base_url=model.base_url, model_api_key=model_server.KEY, model_name="m", helper_calls_at_once=1
        )
        session = a_session()
        asked = asyncio.ensure_future(calls.ask("invoke_llm", {"query": "?"}, session))
        await model.arrived.acquire()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        async with asyncio.timeout(10):
            await model.abandoned.acquire()
    assert [row.status for row in await calls.rows(session)] == ["cancelled"]
    assert calls.gateway.turns.running == 0


async def test_a_gateway_that_closes_ends_calls_and_stores_their_rows(make_calls: MakeCalls) -> None:
    held = Held()
    calls = make_calls(held.source)
    session = a_session()
    asked = asyncio.ensure_future(calls.ask("run_composio_tool", {"tool_slug": "TEST_HANG"}, session))
    await held.begun.wait()
    await calls.gateway.aclose(10)
    assert asked.cancelled()
    assert [row.status for row in await calls.store.calls(session.id, limit=10)] == ["cancelled"]
    late = await calls.ask("run_composio_tool", {"tool_slug": "TEST_HANG"}, session)
    assert "shuts down" in late.error


async def test_a_defect_of_ours_ends_its_call_with_a_row_and_nothing_else(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(ZeroDivisionError("with a value in it")))
    calls = make_calls(source)
    session = a_session()
    with pytest.raises(ZeroDivisionError):
        await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)
    assert calls.gateway.turns.running == 0
    assert (await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)).error == ""
    assert [row.status for row in await calls.rows(session)] == ["ok", "Internal_Error"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"tools": {"test": {"disable": ["TEST_SECOND"]}}}, "tools.test.disable"),
        ({"toolkits": {"disable": ["test"]}}, "toolkits.disable"),
        ({"helpers": {"disable": ["run_composio_tool"]}}, "helpers.disable"),
        ({"connected_accounts": {"test": ["acc_2"]}}, None),
    ],
    ids=["tool", "toolkit", "helper", "account"],
)
async def test_a_call_that_waited_is_sent_only_if_the_session_still_allows_it_and_as_it_says_now(
    make_calls: MakeCalls, config: dict[str, Any], words: str | None
) -> None:
    held = Held()
    calls = make_calls(held.source, helper_calls_at_once=1)
    session = a_session({"connected_accounts": {"test": ["acc_1"]}})
    async with asyncio.TaskGroup() as group:
        group.create_task(calls.ask("run_composio_tool", {"tool_slug": "TEST_FIRST"}))
        await held.begun.wait()
        waiting = group.create_task(calls.ask("run_composio_tool", {"tool_slug": "TEST_SECOND"}, session))
        while not calls.gateway.turns.waiting:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        calls.changed[session.id] = replace(session, config=config, config_version=2)
        held.release.set()
    sent = [(call.slug, call.account) for call in held.source.calls[1:]]
    status = [row.status for row in await calls.rows(session)]
    if words is None:
        assert (sent, status) == ([("TEST_SECOND", "acc_2")], ["ok"])
    else:
        assert (sent, status) == ([], ["refused"])
        assert words in waiting.result().error
    assert calls.gateway.turns.running == 0


async def test_an_answer_for_which_there_is_no_room_ends_its_call_with_the_setting_and_is_not_sent_again(
    make_calls: MakeCalls,
) -> None:
    host = LargeHost()
    async with host.serving():
        calls = make_calls(proxy_hosts={"a": {"base_url": host.url}}, tool_answers_max_bytes=MIB)
        asked = {"toolkit": "a", "method": "GET", "endpoint": "/"}
        answer = await calls.ask("proxy_execute", asked)
        with pytest.raises(UpstreamInvalid, match="no room"):
            await calls.gateway.request(a_session(), ProxyArguments("GET", "/", "a"))
    assert "tool_answers_max_bytes" in answer.error
    assert len(host.seen) == 2


class LargeHost(FaultyServer):
    """Answers with more than a mebibyte and its beginning."""

    async def answer(self, request: Seen) -> Reply:
        return json_reply("x" * 3 * MIB)
