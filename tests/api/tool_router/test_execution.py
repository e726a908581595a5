"""Running tools in a session: meta tools, tools of toolkits, searches, raw requests."""

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import BASH, WORKBENCH
from tests.api.tool_router.conftest import PREFIXES, Equipped, execute, make, path, refused
from tests.compat.requirements import promises

ANSWER = {"data", "error", "log_id", "result_type"}


@promises("CC-0.02", "CC-0.04")
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("rest", "name"), [("execute", "tool_slug"), ("execute_meta", "slug")])
def test_python_and_bash_answer_in_the_agreed_shape(
    equipped_client: httpx.Client, prefix: str, rest: str, name: str
) -> None:
    session = make(equipped_client)
    at = f"{prefix}/tool_router/session/{session['session_id']}/{rest}"
    code = {"code_to_execute": "x = 41\nprint(x + 1)", "thought": "try", "unknown": 1}
    python = equipped_client.post(at, json={name: WORKBENCH, "arguments": code}).json()
    assert set(python) == ANSWER
    assert (python["error"], python["result_type"], python["data"]["results"]) == (None, "completed", "42")
    assert python["log_id"].startswith("log_")
    assert python["data"]["session"]["id"] == session["session_id"]
    bash = equipped_client.post(at, json={name: BASH.lower(), "arguments": {"command": "echo hello; exit 3"}}).json()
    assert set(bash) == ANSWER
    assert (bash["error"], bash["result_type"], bash["data"]["exit_code"]) == (None, "completed", 3)


@promises("CC-4.25", "CC-9.07")
def test_code_that_raised_is_an_answer_that_says_failed(equipped_client: httpx.Client) -> None:
    answer = execute(equipped_client, make(equipped_client), WORKBENCH, {"code_to_execute": "print('so far')\n1/0"})
    assert (answer["result_type"], answer["error"]) == ("failed", "ZeroDivisionError: division by zero")
    assert answer["data"]["stdout"] == "so far\n"


def test_the_session_of_the_path_wins(equipped_client: httpx.Client) -> None:
    first, second = make(equipped_client), make(equipped_client)
    arguments = {"command": "true", "session_id": second["session_id"]}
    assert execute(equipped_client, first, BASH, arguments)["data"]["session"]["id"] == first["session_id"]


WRONG: list[tuple[str, dict[str, Any], int, str]] = [
    ("execute", {}, 422, '"tool_slug"'),
    ("execute", {"tool_slug": "  "}, 422, '"tool_slug"'),
    ("execute", {"tool_slug": 7}, 422, '"tool_slug"'),
    ("execute", {"tool_slug": WORKBENCH}, 422, '"code_to_execute"'),
    ("execute", {"tool_slug": WORKBENCH, "arguments": []}, 422, '"arguments"'),
    ("execute", {"tool_slug": "ECHO_ADD", "arguments": "x"}, 422, '"arguments"'),
    ("execute", {"tool_slug": "ECHO_ADD", "arguments": {"a": "x"}}, 422, "arguments.a"),
    ("execute", {"tool_slug": WORKBENCH, "account": 3}, 422, '"account"'),
    ("execute", {"tool_slug": WORKBENCH, "enable_auto_workbench_offload": "yes"}, 422, "workbench_offload"),
    ("execute", {"tool_slug": "COMPOSIO_NOT_THERE"}, 404, "COMPOSIO_NOT_THERE"),
    ("execute", {"tool_slug": "NOBODY_HAS_IT"}, 404, "NOBODY_HAS_IT"),
    ("execute_meta", {"tool_slug": WORKBENCH}, 422, '"slug"'),
    ("execute_meta", {"slug": "ECHO_ADD", "arguments": {}}, 404, "ECHO_ADD"),
    ("search", {}, 422, "queries"),
    ("search", {"queries": []}, 422, "queries"),
    ("proxy_execute", {}, 422, '"toolkit_slug"'),
    ("proxy_execute", {"toolkit_slug": "api", "endpoint": " ", "method": "GET"}, 422, '"endpoint"'),
    ("proxy_execute", {"toolkit_slug": "api", "endpoint": "/", "method": "TRACE"}, 422, '"method"'),
    ("proxy_execute", {"toolkit_slug": "api", "endpoint": "/", "method": "GET", "body": 1}, 422, '"body"'),
    ("proxy_execute", {"toolkit_slug": "none", "endpoint": "/", "method": "GET"}, 404, "none"),
]


@promises("CC-0.08", "CC-8.12")
@pytest.mark.parametrize(("rest", "body", "status", "words"), WRONG)
def test_a_wrong_call_is_refused_and_not_to_be_repeated(
    equipped_client: httpx.Client, rest: str, body: dict[str, Any], status: int, words: str
) -> None:
    response = equipped_client.post(path(make(equipped_client), f"/{rest}"), json=body)
    refused(response, status, words)
    assert response.headers.get("x-should-retry") == (None if rest == "search" else "false")


# --- tools of toolkits --------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_tool_of_a_toolkit_runs_on_both_roads(equipped_client: httpx.Client, prefix: str) -> None:
    answer = execute(equipped_client, make(equipped_client), "echo_echo", {"text": "hi"})
    assert set(answer) == ANSWER
    assert (answer["data"]["text"], answer["error"], answer["result_type"]) == ("hi", None, "completed")
    body = {"arguments": {"text": "hi"}, "user_id": "user_1", "version": "latest"}
    direct = equipped_client.post(f"{prefix}/tools/execute/ECHO_ECHO", json=body).json()
    assert set(direct) == {"data", "error", "successful", "log_id", "session_info"}
    assert (direct["data"]["text"], direct["successful"], direct["session_info"]) == ("hi", True, None)


def test_the_failure_of_a_tool_is_an_answer(equipped_client: httpx.Client) -> None:
    answer = execute(equipped_client, make(equipped_client), "ECHO_FAIL", {"words": "on purpose"})
    assert answer["result_type"] == "failed"
    assert "on purpose" in answer["error"]
    direct = equipped_client.post("/api/v3/tools/execute/ECHO_FAIL", json={"arguments": {"words": "on purpose"}}).json()
    assert direct["successful"] is False
    assert "on purpose" in direct["error"]


RULES = [
    ({"toolkits": {"disable": ["echo"]}}, "toolkits.disable"),
    ({"toolkits": {"enable": ["time"]}}, "toolkits.enable"),
    ({"tools": {"echo": {"disable": ["ECHO_ECHO"]}}}, "tools.echo.disable"),
    ({"tools": {"echo": ["ECHO_ADD"]}}, "tools.echo.enable"),
    ({"tags": ["readOnlyHint"]}, "tags.enable"),
]


@promises("CC-1.51")
@pytest.mark.parametrize(("body", "words"), RULES)
def test_the_rules_of_a_session_hold_for_calls_and_code_and_follow_a_change(
    equipped_client: httpx.Client, body: dict[str, Any], words: str
) -> None:
    session = make(equipped_client)
    call = {"tool_slug": "ECHO_ECHO", "arguments": {"text": "hi"}}
    code = {"code_to_execute": "run_composio_tool('ECHO_ECHO', {'text': 'hi'})[1]"}
    assert equipped_client.post(path(session, "/execute"), json=call).status_code == 200
    assert execute(equipped_client, session, WORKBENCH, code)["data"]["results"] == "''"
    assert equipped_client.patch(path(session), json=body).status_code == 200
    refused(equipped_client.post(path(session, "/execute"), json=call), 403, words)
    assert words in execute(equipped_client, session, WORKBENCH, code)["data"]["results"]


@promises("CC-1.50", "CC-9.04")
@pytest.mark.parametrize("offload", [True, False])
def test_a_large_answer_goes_to_a_file_only_when_that_is_asked_for(
    equipped_client: httpx.Client, offload: bool
) -> None:
    session = make(equipped_client, workbench={"auto_offload_threshold": 300})
    large = {"tool_slug": "ECHO_LARGE", "arguments": {"size": 5000}, "enable_auto_workbench_offload": offload}
    answer = equipped_client.post(path(session, "/execute"), json=large).json()
    assert (set(answer), answer["result_type"]) == (ANSWER, "completed")
    if not offload:
        assert len(json.dumps(answer["data"])) > 5000
        return
    data = answer["data"]
    assert set(data) == {"data_preview", "structure_info", "remote_file_info", "next_steps"}
    assert data["remote_file_info"]["file_path"].endswith(".json")
    assert set(data["structure_info"]) == {"data_structure"}
    where = data["remote_file_info"]["file_path"]
    code = {"code_to_execute": f"import json\nlen(str(json.load(open({where!r}))['results'][0]['response']['data']))"}
    assert int(execute(equipped_client, session, WORKBENCH, code)["data"]["results"]) > 5000
    small = execute(equipped_client, session, "ECHO_ECHO", {"text": "x"}, enable_auto_workbench_offload=True)
    assert small["data"]["text"] == "x"


@promises("CC-4.21")
def test_search_answers_with_the_fields_that_the_sdks_read(equipped_client: httpx.Client) -> None:
    body = {"queries": [{"use_case": "add two numbers"}], "model": "gpt"}
    session = make(equipped_client)
    found = equipped_client.post(path(session, "/search"), json=body).json()
    assert {
        "success",
        "error",
        "results",
        "tool_schemas",
        "toolkit_connection_statuses",
        "session",
        "next_steps_guidance",
        "time_info",
    } <= set(found)
    assert (found["success"], found["session"]["id"]) == (True, session["session_id"])
    assert "ECHO_ADD" in found["results"][0]["primary_tool_slugs"]


# --- raw requests -------------------------------------------------------------------------------------


@promises("CC-4.22")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_raw_request_goes_out_with_the_credential_and_comes_back(equipped: Equipped, prefix: str) -> None:
    parameters = [
        {"name": "per_page", "type": "query", "value": "1"},
        {"name": "X-Trace", "type": "header", "value": "abc"},
    ]
    body = {"toolkit_slug": "API", "endpoint": "/user", "method": "POST", "body": {"a": 1}, "parameters": parameters}
    with equipped.server.client() as client:
        session = make(client)
        at = f"{prefix}/tool_router/session/{session['session_id']}/proxy_execute"
        answer = client.post(at, json=body).json()
    assert set(answer) == {"status", "data", "headers", "result_type"}
    assert (answer["status"], answer["result_type"]) == (200, "completed")
    seen = answer["data"]
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/v1/user", [["per_page", "1"]])
    assert (seen["headers"]["x-trace"], json.loads(seen["body"])) == ("abc", {"a": 1})


@promises("CC-1.51")
@pytest.mark.parametrize(
    "body", [{"toolkits": {"disable": ["api"]}}, {"proxy_execute": {"enable": False}}], ids=["toolkit", "altogether"]
)
def test_a_raw_request_obeys_the_sessions_rules(equipped_client: httpx.Client, body: dict[str, Any]) -> None:
    response = equipped_client.post(
        path(make(equipped_client, **body), "/proxy_execute"),
        json={"toolkit_slug": "api", "endpoint": "/user", "method": "GET"},
    )
    refused(response, 403)
    assert response.headers["x-should-retry"] == "false"


def test_the_status_of_the_api_is_data_and_as_a_tool_a_failure(equipped: Equipped) -> None:
    from tests.support.faulty_server import json_reply

    equipped.host.replies["/v1/gone"] = json_reply({"message": "no such thing"}, 404)
    asked = {"toolkit_slug": "api", "endpoint": "/gone", "method": "GET"}
    with equipped.server.client() as client:
        session = make(client, proxy_execute={"enable": True})
        answer = client.post(path(session, "/proxy_execute"), json=asked).json()
        assert (answer["status"], answer["data"], answer["result_type"]) == (
            404,
            {"message": "no such thing"},
            "completed",
        )
        tool = execute(client, session, "COMPOSIO_PROXY_EXECUTE", asked)
        assert (tool["result_type"], tool["data"]["status"]) == ("failed", 404)


@promises("CC-4.24")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_direct_road_names_the_toolkit_or_its_account(equipped_client: httpx.Client, prefix: str) -> None:
    listed = equipped_client.get(path(make(equipped_client), "/toolkits")).json()["items"]
    account = next(item["connected_account"]["id"] for item in listed if item["slug"] == "api")
    for named in ({"connected_account_id": account}, {"toolkit_slug": "api"}):
        body = {**named, "endpoint": "/user", "method": "GET", "parameters": []}
        answer = equipped_client.post(f"{prefix}/tools/execute/proxy", json=body).json()
        assert set(answer) == {"status", "data", "headers"}
        assert answer["data"]["path"] == "/v1/user"
    wrong = {"connected_account_id": "ca_unknown", "endpoint": "/user", "method": "GET"}
    refused(equipped_client.post(f"{prefix}/tools/execute/proxy", json=wrong), 404, "ca_unknown")
    refused(
        equipped_client.post(f"{prefix}/tools/execute/proxy", json={"endpoint": "/", "method": "GET"}), 422, "toolkit"
    )


def test_a_label_in_the_path_may_be_long_and_not_endless(equipped_client: httpx.Client) -> None:
    def run(label: str) -> httpx.Response:
        body = {"tool_slug": BASH, "arguments": {"command": "echo here"}}
        return equipped_client.post(f"/api/v3.1/tool_router/session/{label}/execute", json=body)

    assert run("l" * 500).json()["data"]["stdout"] == "here\n"
    error = run("l" * 501).json()["error"]
    assert (error["status"], error["fields"][0]["path"]) == (422, "path.session_id")
