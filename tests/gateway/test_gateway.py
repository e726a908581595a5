"""Every helper through the gateway, over real HTTP to stand-ins of the paid services, and the order of its rules."""

import resource
from typing import Any

import msgspec
import pytest

from sandbox.errors import HelperRefused, UpstreamUnavailable
from sandbox.gateway.unsent import UNSENT_MAX
from sandbox.limits import MODEL_INPUT_CHARS
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import ToolAnswer, ToolCall
from sandbox.upstreams.search_query import QUERY_CHARS
from tests.gateway.conftest import Flaky, MakeCalls, ToolSource, a_session, echo, raw
from tests.support import api_host, composio_backend, model_server, search_servers
from tests.support.faulty_server import closed_port, json_reply

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
    ("web_search", {"query": "x" * (QUERY_CHARS + 1)}, "web_search: query has 4,001 characters, the most is 4,000"),
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("helper", "arguments"),
    [
        ("run_composio_tool", b'{"tool_slug":"TEST_ECHO","arguments":{"a":[%b[]]}}'),
        ("proxy_execute", b'{"method":"GET","endpoint":"/","toolkit":"a","query":[%b[]]}'),
        ("web_search", b'{"tool_slug":"TEST_ECHO","arguments":{"a":[%b[]]}}'),
    ],
)
async def test_arguments_with_too_many_values_are_refused_before_objects_are_made_of_them(
    make_calls: MakeCalls, helper: str, arguments: bytes
) -> None:
    calls = make_calls(ToolSource(echo), proxy_hosts={"a": {"base_url": "http://a"}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await calls.ask(helper, msgspec.Raw(arguments % (b"[]," * 20_000_000)))
    assert "more than 2,000,000 values" in answer.error
    assert "upload_local_file" in answer.error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024


async def test_a_long_text_and_a_body_that_is_passed_on_may_have_any_number_of_commas(make_calls: MakeCalls) -> None:
    source = ToolSource(echo)
    calls = make_calls(source, proxy_hosts={"a": {"base_url": "http://a"}})
    said = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO", "arguments": {"a": ["x," * 5_000_000]}})
    assert said.error == ""
    body = {"method": "POST", "endpoint": "/", "toolkit": "b", "body": msgspec.Raw(b"[" + b"1," * 3_000_000 + b"2]")}
    assert "no API is configured" in (await calls.ask("proxy_execute", body)).error


@pytest.mark.timeout(60)
async def test_an_endpoint_of_any_length_is_refused_and_not_taken_apart(make_calls: MakeCalls) -> None:
    calls = make_calls(proxy_hosts={"a": {"base_url": "http://a"}})
    session = a_session()
    endpoint = "http://" + "\N{LATIN SMALL LETTER LONG S WITH DOT ABOVE}\N{COMBINING DOT BELOW}" * 5_000_000
    asked = {"method": "GET", "endpoint": endpoint, "toolkit": "A" * 5_000_000}
    assert "8192 characters" in (await calls.ask("proxy_execute", {**asked, "toolkit": "a"}, session)).error
    assert (await calls.ask("proxy_execute", asked, session)).error
    assert {len(row.target) for row in await calls.rows(session)} == {500}


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


async def test_a_loop_of_refused_calls_does_not_fill_the_audit_and_calls_that_are_sent_are_all_in_it(
    make_calls: MakeCalls,
) -> None:
    calls = make_calls(ToolSource(echo))
    session, other = a_session(), a_session()
    for _ in range(3 * UNSENT_MAX):
        assert "meta tool" in (await calls.ask("run_composio_tool", {"tool_slug": "COMPOSIO_ANY"}, session)).error
    for each in (session, other):
        assert (await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, each)).error == ""
    await calls.ask("run_composio_tool", {"tool_slug": "COMPOSIO_ANY"}, other)
    rows = await calls.gateway.audit.of_session(session.id, limit=10_000, after=None, execution_id=None, status=None)
    # An hour of the clock may have ended meanwhile.
    assert UNSENT_MAX < len(rows) <= 2 * UNSENT_MAX + 1
    assert rows[0].target == "TEST_ECHO"
    assert [row.status for row in await calls.rows(other)] == ["refused", "ok"]


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
