"""Every helper through the gateway, over real HTTP to stand-ins of the paid services, and the order of its rules."""

import asyncio
from typing import Any

import msgspec
import pytest

from sandbox.errors import HelperRefused, UpstreamRateLimited, UpstreamUnavailable
from sandbox.limits import MODEL_INPUT_CHARS
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import ToolAnswer, ToolCall
from tests.gateway.conftest import MakeCalls, ToolSource, a_session, echo, raw
from tests.support import api_host, composio_backend, model_server, search_servers
from tests.support.faulty_server import Fault, closed_port, json_reply

pytestmark = pytest.mark.anyio


def value(answer: HelperAnswer) -> Any:
    """The JSON value of an answer."""
    return msgspec.json.decode(b"".join(answer.pieces))


# --- each helper --------------------------------------------------------------------------------------------


async def test_a_tool_of_a_backend_answers_with_data_and_log_id(make_calls: MakeCalls) -> None:
    backend = composio_backend.ComposioBackend()
    async with backend.serving():
        calls = make_calls(composio_base_url=backend.url, composio_api_key=composio_backend.KEY)
        good = await calls.ask("run_composio_tool", {"tool_slug": " test_echo ", "arguments": {"a": 1}})
        bad = await calls.ask("run_composio_tool", {"tool_slug": "TEST_FAIL", "arguments": {}, "account": None})
    assert (value(good)["data"], value(good)["successful"], value(good)["error"]) == ({"echo": {"a": 1}}, True, None)
    assert good.error == ""
    assert value(good)["log_id"] == "log_1"
    assert "the tool could not" in bad.error
    assert value(bad)["successful"] is False
    assert value(bad)["error"] == bad.error


async def test_a_question_is_answered_by_the_model_and_counts(make_calls: MakeCalls) -> None:
    model = model_server.ModelServer()
    async with model.serving():
        calls = make_calls(
            model_base_url=model.base_url,
            model_api_key=model_server.KEY,
            model_name=model_server.MODEL,
            model_chars_per_session=25,
        )
        session = a_session()
        assert value(await calls.ask("invoke_llm", {"query": "what is it?"}, session)) == "what is it?"
        refused = await calls.ask("invoke_llm", {"query": "and what else?"}, session)
    assert "model_chars_per_session" in refused.error
    assert [(row.status, row.target) for row in await calls.rows(session)] == [
        ("refused", model_server.MODEL),
        ("ok", model_server.MODEL),
    ]


async def test_a_search_gives_text(make_calls: MakeCalls) -> None:
    exa = search_servers.ExaServer()
    async with exa.serving():
        calls = make_calls(exa_base_url=exa.url, exa_api_key=search_servers.EXA_KEY)
        answer = await calls.ask("web_search", {"query": "owls"})
    assert value(answer).startswith("About owls.")


async def test_a_proxied_request_gives_status_data_and_headers(make_calls: MakeCalls) -> None:
    host = api_host.ApiHost()
    host.replies["/v1/gone"] = json_reply({"error": {"message": "it went away"}}, 404)
    async with host.serving():
        hosts = {"test": {"base_url": host.base_url, "credential": api_host.CREDENTIAL}}
        calls = make_calls(proxy_hosts=hosts)
        session = a_session()
        wanted = {"method": "POST", "endpoint": "/things?token=s3cret", "toolkit": "TEST", "body": {"a": [1]}}
        good = await calls.ask("proxy_execute", wanted | {"query": [["n", "1"]]}, session)
        gone = await calls.ask("proxy_execute", {"method": "GET", "endpoint": "/gone", "toolkit": "test"}, session)
    assert good.error == ""
    assert value(good)["status"] == 200
    assert value(good)["data"]["method"] == "POST"
    assert ["n", "1"] in value(good)["data"]["query"]
    assert value(good)["headers"]["content-type"] == "application/json"
    assert gone.error == "API returned status 404: it went away"
    assert value(gone)["data"] == {"error": {"message": "it went away"}}
    assert [(row.target, row.status) for row in await calls.rows(session)] == [
        ("test GET /gone", "failed"),
        ("test POST /things", "ok"),
    ]


async def test_the_helpers_that_a_session_may_call_are_listed(make_calls: MakeCalls) -> None:
    calls = make_calls()
    all_of_them = value(await calls.ask("list_helpers", {}))
    assert {"run_composio_tool", "invoke_llm", "web_search", "proxy_execute"} <= set(all_of_them)
    session = a_session({"helpers": {"disable": ["web_search"]}, "workbench": {"enable_proxy_execution": False}})
    some = value(await calls.ask("list_helpers", {}, session))
    assert set(all_of_them) - set(some) == {"web_search", "proxy_execute"}


@pytest.mark.parametrize(
    ("helper", "arguments", "setting"),
    [
        ("run_composio_tool", {"tool_slug": "A_B", "arguments": {}}, "WORKBENCH_MCP_SERVERS"),
        ("invoke_llm", {"query": "?"}, "WORKBENCH_MODEL_BASE_URL"),
        ("web_search", {"query": "?"}, "WORKBENCH_EXA_API_KEY"),
        ("proxy_execute", {"method": "GET", "endpoint": "/", "toolkit": "github"}, "WORKBENCH_PROXY_HOSTS"),
    ],
)
async def test_a_helper_without_its_upstream_names_the_setting(
    make_calls: MakeCalls, helper: str, arguments: dict[str, Any], setting: str
) -> None:
    answer = await make_calls().ask(helper, arguments)
    assert setting in answer.error


WRONG = [
    ("run_composio_tool", {"arguments": {}}, "tool_slug"),
    ("run_composio_tool", {"tool_slug": 5}, "tool_slug"),
    ("run_composio_tool", {"tool_slug": "a b"}, "tool_slug"),
    ("run_composio_tool", {"tool_slug": "A_B", "arguments": []}, "arguments"),
    ("run_composio_tool", {"tool_slug": "A_B", "wrong": 1}, "wrong"),
    ("invoke_llm", {"query": " "}, "query"),
    ("invoke_llm", {"query": "x" * (MODEL_INPUT_CHARS + 1)}, "200,001"),
    ("web_search", {}, "query"),
    ("proxy_execute", {"method": "TRACE", "endpoint": "/", "toolkit": "a"}, "method"),
    ("proxy_execute", {"method": "GET", "endpoint": " ", "toolkit": "a"}, "endpoint"),
    ("proxy_execute", {"method": "GET", "endpoint": "/", "toolkit": ""}, "toolkit"),
    ("proxy_execute", {"method": "GET", "endpoint": "http://[", "toolkit": "a"}, "a"),
    ("web_search", msgspec.Raw(b"{"), "web_search"),
    ("web_search", msgspec.Raw(b"[" * 100_000), "web_search"),
    ("web_search", msgspec.Raw(b'{"query": "\xff"}'), "web_search"),
    ("no_such_helper", {}, "run_composio_tool"),
]


@pytest.mark.parametrize(("helper", "arguments", "words"), WRONG)
async def test_what_is_wrong_with_arguments_is_named(
    make_calls: MakeCalls, helper: str, arguments: object, words: str
) -> None:
    port = closed_port()
    calls = make_calls(
        ToolSource(echo),
        model_base_url=f"http://127.0.0.1:{port}",
        model_name="m",
        exa_api_key="exa-key",
        exa_base_url=f"http://127.0.0.1:{port}",
        proxy_hosts={"a": {"base_url": f"http://127.0.0.1:{port}"}},
        helper_retries=0,
    )
    answer = await calls.ask(helper, arguments)
    assert words in answer.error


async def test_a_large_answer_is_passed_on_without_a_copy(make_calls: MakeCalls) -> None:
    data = raw({"rows": "x" * 1_000_000})

    async def large(_call: ToolCall) -> ToolAnswer:
        return ToolAnswer(data, log_id="log")

    answer = await make_calls(ToolSource(large)).ask("run_composio_tool", {"tool_slug": "TEST_ROWS"})
    assert any(isinstance(piece, memoryview) and piece.obj is data for piece in answer.pieces)
    assert value(answer) == {
        "data": msgspec.json.decode(data),
        "successful": True,
        "error": None,
        "log_id": "log",
    }


# --- policy and budget --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "helper", "arguments"),
    [
        ({}, "run_composio_tool", {"tool_slug": "COMPOSIO_SEARCH_TOOLS"}),
        ({"toolkits": ["github"]}, "run_composio_tool", {"tool_slug": "TEST_ECHO"}),
        ({"tools": {"test": {"disable": ["TEST_ECHO"]}}}, "run_composio_tool", {"tool_slug": "TEST_ECHO"}),
        ({"tags": ["readOnlyHint"]}, "run_composio_tool", {"tool_slug": "TEST_ECHO"}),
        ({"helpers": {"disable": ["run_composio_tool"]}}, "run_composio_tool", {"tool_slug": "TEST_ECHO"}),
        (
            {"toolkits": ["github"]},
            "proxy_execute",
            {"method": "GET", "endpoint": "/", "toolkit": "test"},
        ),
        (
            {"workbench": {"enable_proxy_execution": False}},
            "proxy_execute",
            {"method": "GET", "endpoint": "/", "toolkit": "test"},
        ),
        ({"toolkits": 5}, "run_composio_tool", {"tool_slug": "TEST_ECHO"}),
    ],
)
async def test_what_the_policy_forbids_is_refused_audited_and_not_sent(
    make_calls: MakeCalls, config: dict[str, Any], helper: str, arguments: dict[str, Any]
) -> None:
    source = ToolSource(echo)
    source.tags["TEST_ECHO"] = ("destructiveHint",)
    calls = make_calls(source, proxy_hosts={"test": {"base_url": f"http://127.0.0.1:{closed_port()}"}})
    session = a_session(config)
    answer = await calls.ask(helper, arguments, session)
    assert (
        "config" in answer.error or "true" in answer.error or "meta tool" in answer.error or "session" in answer.error
    )
    assert source.calls == []
    assert [(row.helper, row.status, row.attempts) for row in await calls.rows(session)] == [(helper, "refused", 0)]


async def test_a_tool_with_an_allowed_tag_runs(make_calls: MakeCalls) -> None:
    source = ToolSource(echo)
    source.tags["TEST_ECHO"] = ("readOnlyHint",)
    answer = await make_calls(source).ask(
        "run_composio_tool", {"tool_slug": "TEST_ECHO"}, a_session({"tags": ["readOnlyHint"]})
    )
    assert answer.error == ""


async def test_calls_over_the_budget_are_refused(make_calls: MakeCalls) -> None:
    calls = make_calls(ToolSource(echo), calls_per_session=2)
    session = a_session()
    errors = [(await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)).error for _ in range(3)]
    assert errors[:2] == ["", ""]
    assert "`calls_per_session`" in errors[2]


async def test_the_user_and_the_session_go_along_and_the_owner_decides_nothing_else(make_calls: MakeCalls) -> None:
    source = ToolSource(echo)
    session = a_session()
    await make_calls(source).ask("run_composio_tool", {"tool_slug": "TEST_ECHO", "account": "work"}, session)
    principal = source.calls[0].principal
    assert (principal.session_id, principal.owner, principal.user_id) == (session.id, "ann", "someone")
    assert source.calls[0].account == "work"


# --- sending again ------------------------------------------------------------------------------------------


class Flaky:
    """Fails with each of `errors` in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self, call: ToolCall) -> ToolAnswer:
        if self.errors:
            raise self.errors.pop(0)
        return ToolAnswer(raw({"done": True}))


async def test_what_was_not_done_is_sent_again_and_the_row_counts_the_attempts(make_calls: MakeCalls) -> None:
    source = ToolSource(
        Flaky(UpstreamRateLimited("later", retry=True, retry_after_s=0), UpstreamUnavailable("no way", retry=True))
    )
    calls = make_calls(source)
    session = a_session()
    answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)
    assert answer.error == ""
    assert len(source.calls) == 3
    assert [(row.attempts, row.status) for row in await calls.rows(session)] == [(3, "ok")]
    assert "workbench_helper_retries_total 2.0" in calls.metrics.text().decode()


async def test_what_may_have_had_an_effect_is_never_sent_twice(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(UpstreamUnavailable("the connection broke after it was sent")))
    answer = await make_calls(source).ask("run_composio_tool", {"tool_slug": "TEST_ECHO"})
    assert "the connection broke" in answer.error
    assert len(source.calls) == 1


async def test_it_is_given_up_after_the_retries_that_are_set(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(*(UpstreamUnavailable(f"no way {n}", retry=True) for n in range(9))))
    answer = await make_calls(source, helper_retries=1).ask("run_composio_tool", {"tool_slug": "TEST_ECHO"})
    assert answer.error.startswith("no way 1")
    assert len(source.calls) == 2


async def test_an_upstream_that_wants_more_time_than_is_left_is_not_waited_for(make_calls: MakeCalls) -> None:
    backend = composio_backend.ComposioBackend()
    backend.faults.append(Fault.RATE_LIMITED)
    async with backend.serving():
        calls = make_calls(composio_base_url=backend.url, composio_api_key=composio_backend.KEY)
        async with asyncio.timeout(5):
            answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, timeout_s=6)
    assert answer.error
    assert len(backend.seen) == 1


async def test_a_deadline_that_comes_before_the_next_attempt_gives_the_cause_of_the_last(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(*(UpstreamUnavailable("no way in", retry=True) for _ in range(20))))
    answer = await make_calls(source, helper_retries=10).ask(
        "run_composio_tool", {"tool_slug": "TEST_ECHO"}, timeout_s=0.5
    )
    assert answer.error == "no way in"


async def test_a_connection_that_is_refused_is_tried_again_over_real_sockets(make_calls: MakeCalls) -> None:
    calls = make_calls(
        composio_base_url=f"http://127.0.0.1:{closed_port()}", composio_api_key="ak_test", helper_retries=1
    )
    session = a_session()
    answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)
    assert answer.error
    assert [(row.attempts, row.status) for row in await calls.rows(session)] == [(2, "Upstream_Unavailable")]


async def test_while_a_call_waits_to_be_sent_again_others_have_its_turn(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(UpstreamUnavailable("no way in", retry=True)))
    calls = make_calls(source, helper_calls_at_once=1)
    async with asyncio.TaskGroup() as group:
        for slug in ("TEST_FIRST", "TEST_SECOND"):
            group.create_task(calls.ask("run_composio_tool", {"tool_slug": slug}))
    assert [call.slug for call in source.calls] == ["TEST_FIRST", "TEST_SECOND", "TEST_FIRST"]


async def test_injected_refusals_lose_no_call_and_run_none_twice(make_calls: MakeCalls) -> None:
    done: list[int] = []

    async def sometimes(call: ToolCall) -> ToolAnswer:
        number = call.arguments["n"]
        if len(source.calls) % 3 == 0:
            raise UpstreamRateLimited("later", retry=True, retry_after_s=0)
        done.append(number)
        return ToolAnswer(raw({"n": number}))

    source = ToolSource(sometimes)
    calls = make_calls(source, helper_retries=10)
    session = a_session()
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(
                calls.ask("run_composio_tool", {"tool_slug": "TEST_COUNT", "arguments": {"n": n}}, session)
            )
            for n in range(60)
        ]
    assert [task.result().error for task in asked] == [""] * 60
    assert sorted(done) == list(range(60))


# --- deadline, cancellation, the end ------------------------------------------------------------------------


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
    begun, release = asyncio.Event(), asyncio.Event()

    async def hold(_call: ToolCall) -> ToolAnswer:
        begun.set()
        await release.wait()
        return ToolAnswer(raw({}))

    source = ToolSource(hold)
    calls = make_calls(source, helper_calls_at_once=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(calls.ask("run_composio_tool", {"tool_slug": "TEST_HOLD"}))
        await begun.wait()
        late = await calls.ask("run_composio_tool", {"tool_slug": "TEST_HOLD"}, timeout_s=0.05)
        release.set()
    assert "was not sent" in late.error
    assert len(source.calls) == 1


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
    begun = asyncio.Event()

    async def hang(_call: ToolCall) -> ToolAnswer:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    calls = make_calls(ToolSource(hang))
    session = a_session()
    asked = asyncio.ensure_future(calls.ask("run_composio_tool", {"tool_slug": "TEST_HANG"}, session))
    await begun.wait()
    await calls.gateway.aclose(10)
    assert asked.cancelled()
    assert [row.status for row in await calls.store.calls(session.id, limit=10)] == ["cancelled"]
    late = await calls.ask("run_composio_tool", {"tool_slug": "TEST_HANG"}, session)
    assert "shuts down" in late.error


async def test_a_defect_of_ours_is_the_helpers_error_and_ends_nothing(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(ZeroDivisionError("with a value in it")))
    calls = make_calls(source)
    session = a_session()
    answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)
    assert answer.error == "something failed inside the server (ZeroDivisionError)"
    assert (await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)).error == ""
    assert [row.status for row in await calls.rows(session)] == ["ok", "Internal_Error"]


async def test_an_upstream_that_repeats_a_credential_does_not_get_it_into_a_sandbox(make_calls: MakeCalls) -> None:
    secret = "sk-nobody-may-see/this+one"

    async def blabber(call: ToolCall) -> ToolAnswer:
        if call.slug == "TEST_RAISE":
            raise UpstreamUnavailable(f"no: Authorization: Bearer {secret}")
        return ToolAnswer(raw({}), error=f"you sent {secret}")

    calls = make_calls(
        ToolSource(blabber), proxy_hosts={"a": {"base_url": "http://a", "credential": f"Bearer {secret}"}}
    )
    for slug in ("TEST_RAISE", "TEST_SAY"):
        answer = await calls.ask("run_composio_tool", {"tool_slug": slug})
        assert answer.error
        assert secret not in answer.error + b"".join(answer.pieces).decode()
    assert secret not in str((await calls.gateway.run_tool(a_session(), "TEST_SAY", {})).error)
    with pytest.raises(UpstreamUnavailable) as raised:
        await calls.gateway.run_tool(a_session(), "TEST_RAISE", {})
    assert secret not in raised.value.message + str(raised.value) + repr(raised.value)


# --- for COMPOSIO_MULTI_EXECUTE_TOOL ------------------------------------------------------------------------


async def test_tools_that_are_asked_for_from_outside_follow_the_same_rules(make_calls: MakeCalls) -> None:
    source = ToolSource(echo)
    calls = make_calls(source, calls_per_session=2)
    session = a_session({"tools": {"test": {"disable": ["TEST_OFF"]}}, "workbench": {"enable": False}})
    answer = await calls.gateway.run_tool(session, "test_echo", {"a": 1}, account="work", timeout_s=5)
    assert msgspec.json.decode(answer.data) == {"a": 1}
    assert (source.calls[0].slug, source.calls[0].account) == ("TEST_ECHO", "work")
    with pytest.raises(HelperRefused, match=r"tools\.test\.disable"):
        await calls.gateway.run_tool(session, "TEST_OFF", {})
    await calls.gateway.run_tool(session, "TEST_ECHO", {})
    with pytest.raises(HelperRefused, match="calls_per_session"):
        await calls.gateway.run_tool(session, "TEST_ECHO", {})
    rows = [(row.helper, row.target, row.status, row.execution_id) for row in await calls.rows(session)]
    assert rows == [
        ("multi_execute", "TEST_ECHO", "refused", None),
        ("multi_execute", "TEST_ECHO", "ok", None),
        ("multi_execute", "TEST_OFF", "refused", None),
        ("multi_execute", "TEST_ECHO", "ok", None),
    ]


# --- what is told -------------------------------------------------------------------------------------------


async def test_each_call_is_counted_and_told(make_calls: MakeCalls) -> None:
    calls = make_calls(ToolSource(Flaky(UpstreamUnavailable("no"))))
    for _ in range(2):
        await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"})
    text = calls.metrics.text().decode()
    assert 'workbench_helper_calls_total{helper="run_composio_tool",outcome="ok"} 1.0' in text
    assert 'workbench_helper_calls_total{helper="run_composio_tool",outcome="Upstream_Unavailable"} 1.0' in text
    assert 'workbench_helper_call_seconds_count{helper="run_composio_tool"} 2.0' in text
    assert [(news.target, news.status) for news in calls.news] == [
        ("TEST_ECHO", "Upstream_Unavailable"),
        ("TEST_ECHO", "ok"),
    ]


@pytest.mark.parametrize("kept", [False, True])
async def test_arguments_are_in_the_audit_only_when_a_setting_says_so(make_calls: MakeCalls, kept: bool) -> None:
    calls = make_calls(ToolSource(echo), audit_arguments=kept)
    session = a_session()
    await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO", "arguments": {"a": "\x00private"}}, session)
    (row,) = await calls.rows(session)
    assert (row.arguments is not None) == kept
    assert row.execution_id == "exe_00000000000000aa"
    assert (row.owner, row.session_id, row.request_bytes > 0, row.answer_bytes > 0) == ("ann", session.id, True, True)
