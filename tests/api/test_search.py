"""Search, schemas, connections and plans over HTTP, with real MCP servers as the toolkits."""

import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.api.conftest import KEY, OTHER_KEY, ROOT, Server, running_server
from tests.compat.requirements import promises
from tests.support import composio_backend, model_server
from tests.support.faulty_server import Fault, in_thread

SEARCH = "COMPOSIO_SEARCH_TOOLS"
SCHEMAS = "COMPOSIO_GET_TOOL_SCHEMAS"
CONNECTIONS = "COMPOSIO_MANAGE_CONNECTIONS"
WAIT = "COMPOSIO_WAIT_FOR_CONNECTIONS"
PLAN = "COMPOSIO_CREATE_PLAN"
ECHO = {"command": [sys.executable, "-m", "tests.support.mcp_echo", "stdio"], "env": {"PYTHONPATH": str(ROOT)}}
SERVERS = {
    "echo": ECHO,
    "time": {"command": [sys.executable, "-m", "mcp_server_time"]},
    "git": {"command": [sys.executable, "-m", "mcp_server_git"]},
    "gone": {"command": [sys.executable, "-c", "import sys; sys.exit('it broke')"]},
}
HOSTS = {"github": {"base_url": "https://api.github.com", "credential": "Bearer nobody-may-see-me"}}
ONE_STEP = {
    "workflow_steps": [{"step": 1, "action": "Say it", "tool": "ECHO_ECHO", "inputs": {"text": "hi"}}],
    "complexity_assessment": {"level": "easy"},
}


@pytest.fixture(scope="module")
def local() -> Iterator[Server]:
    """A server with toolkits of its own, of which one is down, and neither backend nor model."""
    settings = {"mcp_servers": json.dumps(SERVERS), "proxy_hosts": json.dumps(HOSTS)}
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=f"{KEY},{OTHER_KEY}", **settings) as running,
    ):
        connected(running, "echo", "time", "git")
        yield running


@pytest.fixture(scope="module")
def backend() -> Iterator[composio_backend.ComposioBackend]:
    backend = composio_backend.ComposioBackend()
    with in_thread(backend):
        yield backend


@pytest.fixture(scope="module")
def model() -> Iterator[model_server.ModelServer]:
    model = model_server.ModelServer()
    with in_thread(model):
        yield model


@pytest.fixture(scope="module")
def joined(backend: composio_backend.ComposioBackend, model: model_server.ModelServer) -> Iterator[Server]:
    """A server with one toolkit of its own, a backend and a model."""
    settings = {
        "mcp_servers": json.dumps({"echo": ECHO}),
        "composio_api_key": composio_backend.KEY,
        "composio_base_url": backend.url,
        "model_base_url": model.base_url,
        "model_api_key": model_server.KEY,
        "model_name": model_server.MODEL,
        "helper_retries": "0",
    }
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=KEY, **settings) as running,
    ):
        connected(running, "echo")
        yield running


@pytest.fixture
def tools(backend: composio_backend.ComposioBackend) -> Iterator[dict[str, composio_backend.Tool]]:
    """The backend's tools, as they were before the test when it ends."""
    before = dict(backend.tools)
    yield backend.tools
    backend.tools = before


def connected(server: Server, *toolkits: str) -> None:
    """Wait until toolkits are there: each call waits for those that still start."""
    for _ in range(10):
        if data(server, CONNECTIONS, toolkits=list(toolkits))["summary"]["active_connections"] == len(toolkits):
            return
    pytest.fail(server.log.read_text())


def data(server: Server, slug: str, **arguments: Any) -> dict[str, Any]:
    answer = server.tool(slug, arguments)
    assert answer["successful"] is True, answer
    found: dict[str, Any] = answer["data"]
    return found


def search(server: Server, *use_cases: str, **arguments: Any) -> dict[str, Any]:
    return data(server, SEARCH, queries=[{"use_case": case} for case in use_cases], **arguments)


def named(found: dict[str, Any]) -> set[str]:
    """All slugs of tools that an answer names."""
    slugs = set(found["tool_schemas"])
    for result in found["results"]:
        slugs |= {*result["primary_tool_slugs"], *result["related_tool_slugs"]}
    return slugs


def session_with(server: Server, **config: Any) -> str:
    with server.client() as client:
        response = client.post("/v1/sessions", json={"config": config})
    assert response.status_code == 201, response.text
    made: str = response.json()["session_id"]
    return made


def tool_router_session(server: Server, **connections: bool) -> str:
    with server.client() as client:
        body = {"user_id": "waits", "manage_connections": {"enable": True, **connections}}
        response = client.post("/api/v3.1/tool_router/session", json=body)
    assert response.status_code == 201, response.text
    made: str = response.json()["session_id"]
    return made


def refused(server: Server, slug: str, arguments: dict[str, Any]) -> httpx.Response:
    with server.client() as client:
        return client.post(f"/api/v3/tools/execute/{slug}", json={"arguments": arguments})


# --- search -------------------------------------------------------------------------------------------


@promises("CC-4.21")
def test_a_search_answers_in_the_agreed_shape(local: Server) -> None:
    query = {"use_case": "what time is it in Berlin", "known_fields": "timezone: Europe/Berlin"}
    found = data(local, SEARCH, queries=[query], session={"generate_id": True}, model="any")
    assert set(found) == {
        *("success", "error", "results", "tool_schemas", "toolkit_connection_statuses"),
        *("time_info", "session", "next_steps_guidance"),
    }
    assert (found["success"], found["error"]) == (True, None)
    (result,) = found["results"]
    assert (result["index"], result["use_case"]) == (1, query["use_case"])
    assert result["primary_tool_slugs"] == ["TIME_GET_CURRENT_TIME"]
    assert result["related_tool_slugs"] == ["TIME_CONVERT_TIME"]
    assert result["toolkits"] == ["time"]
    first = result["recommended_plan_steps"][0]
    assert first.startswith("Step 1: Run TIME_GET_CURRENT_TIME with COMPOSIO_MULTI_EXECUTE_TOOL")
    assert "It needs timezone (string). You have timezone." in first
    assert result["known_pitfalls"] == ["TIME_GET_CURRENT_TIME fails without timezone. Never make a value up."]
    assert "TIME_GET_CURRENT_TIME" in result["reference_workbench_snippets"][0]["code"]
    schema = found["tool_schemas"]["TIME_GET_CURRENT_TIME"]
    assert (schema["toolkit"], schema["tool_slug"]) == ("time", "TIME_GET_CURRENT_TIME")
    assert schema["description"] == "Get current time in a specific timezone"
    assert schema["input_schema"]["required"] == ["timezone"]
    assert schema["hasFullSchema"] is True
    status = next(one for one in found["toolkit_connection_statuses"] if one["toolkit"] == "time")
    assert status["has_active_connection"] is True
    assert found["session"]["id"].startswith("trs_")
    assert found["session"]["id"] in found["session"]["instructions"]
    clock = datetime.strptime(found["time_info"]["current_time_utc"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert clock.timestamp() == found["time_info"]["current_time_utc_epoch_seconds"]


def test_each_query_has_its_own_result_and_each_tool_one_schema(local: Server) -> None:
    found = search(local, "commit history of a repository", "switch to a branch", "fold proteins", "log of commits")
    assert [result["index"] for result in found["results"]] == [1, 2, 3, 4]
    first = [result["primary_tool_slugs"][:1] for result in found["results"]]
    assert first == [["GIT_GIT_LOG"], ["GIT_GIT_CHECKOUT"], [], ["GIT_GIT_LOG"]]
    assert set(found["tool_schemas"]) == named(found)
    assert any("fits query 3" in line for line in found["next_steps_guidance"])


def test_what_a_search_found_can_be_run_in_its_session(local: Server) -> None:
    found = data(local, SEARCH, queries=[{"use_case": "current time"}], session={"generate_id": True})
    ran = local.tool(
        "COMPOSIO_MULTI_EXECUTE_TOOL",
        {
            "tools": [{"tool_slug": found["results"][0]["primary_tool_slugs"][0], "arguments": {"timezone": "UTC"}}],
            "session_id": found["session"]["id"],
        },
    )
    assert ran["successful"] is True
    assert ran["data"]["session"]["id"] == found["session"]["id"]
    snippet = found["results"][0]["reference_workbench_snippets"][0]["code"].replace("<timezone: string>", "UTC")
    assert "UTC" in local.run(snippet, session=found["session"]["id"])["data"]["stdout"]


def test_a_session_is_made_when_wanted_and_used_again_by_id_or_label(local: Server) -> None:
    new = [search(local, "time", session={"generate_id": True})["session"]["id"] for _ in range(2)]
    assert new[0] != new[1]
    assert search(local, "time", session={"id": new[0]})["session"]["id"] == new[0]
    assert search(local, "time", session={"id": new[0], "generate_id": True})["session"]["id"] == new[0]
    assert search(local, "time", session_id=new[1])["session"]["id"] == new[1]
    by_label = search(local, "time", session={"id": "abcd"})["session"]["id"]
    assert data(local, SCHEMAS, tool_slugs=["TIME_CONVERT_TIME"], session_id="abcd")["session"]["id"] == by_label
    assert refused(local, SEARCH, {"queries": ["time"], "session": {"id": "trs_nobodys"}}).status_code == 404


@pytest.mark.parametrize(
    "arguments",
    [
        {"queries": ["what time is it"]},
        {"use_case": "what time is it"},
        {"query": "what time is it", "known_fields": {"timezone": "UTC"}},
        {"queries": [{"use_case": "what time is it", "known_fields": {"timezone": "UTC"}}], "session": "abcd"},
        {"queries": [{"use_case": "what time is it", "known_fields": ["timezone: UTC"]}], "exploratory": True},
        {"queries": [{"use_case": "what time is it", "more": 1}], "session": {"generate_id": True}, "unknown": []},
        {"queries": [{"use_case": "what time is it"}], "toolkits": ["TIME"]},
    ],
)
def test_arguments_of_all_generations_are_taken(local: Server, arguments: dict[str, Any]) -> None:
    found = data(local, SEARCH, **arguments)
    assert found["results"][0]["primary_tool_slugs"] == ["TIME_GET_CURRENT_TIME"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"queries": []},
        {"queries": [{"use_case": "a"}] * 8},
        {"queries": [{"use_case": "  "}]},
        {"queries": [{"known_fields": "a: b"}]},
        {"queries": [{"use_case": "a" * 10_001}]},
        {"queries": [3]},
        {"queries": "time"},
    ],
)
def test_queries_that_are_none_are_named(local: Server, arguments: dict[str, Any]) -> None:
    response = refused(local, SEARCH, arguments)
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"].startswith("arguments.queries")


@pytest.mark.parametrize("text", ['" OR 1=1; --', "NEAR(", "'; DROP TABLE entries", "\x00", "日本語", "?" * 9_000])
def test_any_text_may_be_searched_for(local: Server, text: str) -> None:
    assert search(local, text)["results"][0]["use_case"] == text


@pytest.mark.parametrize(
    ("config", "gone", "kept"),
    [
        ({"toolkits": {"disable": ["git"]}}, "GIT_", "TIME_"),
        ({"toolkits": ["time"]}, "GIT_", "TIME_"),
        ({"tools": {"git": {"disable": ["GIT_GIT_LOG"]}}}, "GIT_GIT_LOG", "GIT_GIT_SHOW"),
        ({"tags": {"disable": ["destructive"]}}, "GIT_GIT_RESET", "GIT_GIT_LOG"),
    ],
)
def test_what_a_session_may_not_use_never_appears(local: Server, config: dict[str, Any], gone: str, kept: str) -> None:
    session = session_with(local, **config)
    cases = ["git commit history", "GIT_GIT_LOG", "reset staged changes of git", "show a commit", "current time"]
    found = search(local, *cases, session_id=session)
    assert not [slug for slug in named(found) if slug.startswith(gone)]
    assert [slug for slug in named(found) if slug.startswith(kept)]
    if not kept.startswith("GIT_"):
        assert "git" not in {one["toolkit"] for one in found["toolkit_connection_statuses"]}
        assert "git" not in {kit for result in found["results"] for kit in result["toolkits"]}
    denied = data(local, SCHEMAS, tool_slugs=["GIT_GIT_RESET", "GIT_GIT_LOG", "TIME_CONVERT_TIME"], session_id=session)
    assert not [slug for slug in denied["tool_schemas"] if slug.startswith(gone)]


def test_a_server_that_is_down_is_told_with_its_reason(local: Server) -> None:
    found = search(local, "anything at all")
    status = next(one for one in found["toolkit_connection_statuses"] if one["toolkit"] == "gone")
    assert status["has_active_connection"] is False
    assert "it broke" in status["status_message"]
    assert "[mcp_servers.gone]" in status["status_message"]
    assert any("gone" in line and CONNECTIONS in line for line in found["next_steps_guidance"])


def test_an_api_without_tools_is_found_as_a_toolkit_with_the_way_to_call_it(local: Server) -> None:
    found = search(local, "my followers on github")
    (result,) = found["results"]
    assert result["toolkits"][-1] == "github"
    assert any('proxy_execute("GET", "/path", "github")' in step for step in result["recommended_plan_steps"])
    assert "nobody-may-see-me" not in json.dumps(found)
    session = session_with(local, workbench={"enable_proxy_execution": False})
    assert "github" not in json.dumps(
        search(local, "my followers on github", session_id=session)["results"][0]["toolkits"]
    )


def test_a_tool_that_a_server_adds_later_is_found(local: Server) -> None:
    assert "ECHO_BREW_COFFEE" not in named(search(local, "brew coffee"))
    ran = local.tool(
        "COMPOSIO_MULTI_EXECUTE_TOOL", {"tools": [{"tool_slug": "ECHO_GROW", "arguments": {"name": "brew_coffee"}}]}
    )
    assert ran["successful"] is True
    with local.client() as client:
        until = monotonic() + 30
        while monotonic() < until:  # the server's word that its list changed comes by a road of its own
            answer = client.post(f"/api/v3/tools/execute/{SEARCH}", json={"arguments": {"queries": ["brew coffee"]}})
            if answer.json()["data"]["results"][0]["primary_tool_slugs"] == ["ECHO_BREW_COFFEE"]:
                return
    pytest.fail("it was not found")


def test_a_session_without_a_sandbox_is_not_sent_to_it(local: Server) -> None:
    session = session_with(local, workbench={"enable": False})
    (result,) = search(local, "current time", session_id=session)["results"]
    assert result["reference_workbench_snippets"] == []
    assert "WORKBENCH" not in json.dumps(result)


# --- schemas --------------------------------------------------------------------------------------------


def test_schemas_are_whole_and_what_is_not_there_is_listed_with_what_is_near(local: Server) -> None:
    found = data(local, SCHEMAS, tool_slugs=["time_convert_time", "GIT_GIT_LOGS", "GONE_TOOL", "no slug", PLAN])
    assert found["success"] is True
    assert list(found["tool_schemas"]) == ["TIME_CONVERT_TIME"]
    schema = found["tool_schemas"]["TIME_CONVERT_TIME"]
    assert set(schema["input_schema"]["properties"]) == {"source_timezone", "time", "target_timezone"}
    assert "output_schema" not in schema
    assert sorted(found["not_found"]) == sorted(["GIT_GIT_LOGS", "GONE_TOOL", "no slug", PLAN])
    assert "Near it: GIT_GIT_LOG" in found["message"]
    assert "it broke" in found["message"]


def test_a_schema_of_the_answer_comes_when_it_is_asked_for(local: Server) -> None:
    found = data(local, SCHEMAS, tool_slugs=["TIME_CONVERT_TIME"], include=["input_schema", "output_schema"])
    assert found["tool_schemas"]["TIME_CONVERT_TIME"].get("output_schema", {"type": "object"})["type"] == "object"


def test_nothing_found_is_a_failure_with_the_reason(local: Server) -> None:
    answer = local.tool(SCHEMAS, {"tool_slugs": ["NO_SUCH_TOOL"]})
    assert (answer["successful"], answer["data"]["success"]) == (False, False)
    assert answer["error"].startswith("There is no tool NO_SUCH_TOOL.")
    assert answer["data"]["not_found"] == ["NO_SUCH_TOOL"]


@pytest.mark.parametrize("slugs", [None, [], ["A"] * 51, "GIT_GIT_LOG", [1]])
def test_slugs_that_are_none_are_named(local: Server, slugs: object) -> None:
    response = refused(local, SCHEMAS, {"tool_slugs": slugs})
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"] == "arguments.tool_slugs"


# --- connections ------------------------------------------------------------------------------------------


def test_connections_say_what_is_there_and_what_has_to_be_configured(local: Server) -> None:
    found = data(local, CONNECTIONS, toolkits=["time", {"name": "GitHub"}, "gone", "gmail", "gti"])
    assert found["message"] == "2 active, 3 failed"
    assert found["summary"] == {
        "total_toolkits": 5,
        "active_connections": 2,
        "initiated_connections": 0,
        "failed_connections": 3,
    }
    results = found["results"]
    assert [(one["status"], one["has_active_connection"]) for one in results.values()] == [
        ("active", True),
        ("active", True),
        ("failed", False),
        ("failed", False),
        ("failed", False),
    ]
    assert "2 tools" in results["time"]["instruction"]
    assert "proxy_execute" in results["github"]["instruction"]
    assert "it broke" in results["gone"]["error_message"]
    assert "[mcp_servers.gone]" in results["gone"]["instruction"]
    assert results["gmail"]["error_message"].startswith("There is no toolkit gmail; there are: echo, git, github, gone")
    assert "[mcp_servers.gmail]" in results["gmail"]["instruction"]
    assert "[proxy_hosts.gmail]" in results["gmail"]["instruction"]
    assert "Did you mean git?" in results["gti"]["error_message"]
    assert "nobody-may-see-me" not in json.dumps(found)


def test_a_toolkit_that_a_session_may_not_use_is_not_connected_for_it(local: Server) -> None:
    session = session_with(local, toolkits={"disable": ["time"]})
    found = data(local, CONNECTIONS, toolkits=["time", "gmail"], session_id=session, reinitiate_all=True)
    assert found["results"]["time"]["status"] == "failed"
    assert "toolkits.disable" in found["results"]["time"]["error_message"]
    assert "time" not in found["results"]["gmail"]["error_message"]


@pytest.mark.parametrize("toolkits", [None, [], [""], ["a" * 101], [{}], "time"])
def test_toolkits_that_are_none_are_named(local: Server, toolkits: object) -> None:
    response = refused(local, CONNECTIONS, {"toolkits": toolkits})
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"] == "arguments.toolkits"


@promises("CC-1.26")
def test_waiting_for_connections_is_there_for_sessions_that_switch_it_on(local: Server) -> None:
    response = refused(local, WAIT, {"toolkits": ["time"], "session_id": tool_router_session(local)})
    assert response.status_code == 400
    assert "manage_connections.enable_wait_for_connections" in response.json()["error"]["message"]


def test_waiting_ends_when_toolkits_are_there_and_when_the_time_is_over(local: Server) -> None:
    session = tool_router_session(local, enable_wait_for_connections=True)
    there = data(local, WAIT, toolkits=["time", "gmail"], timeout=300, session_id=session)
    assert [one["status"] for one in there["results"].values()] == ["active", "failed"]
    late = data(local, WAIT, toolkits=["time", "gone"], timeout=1, session_id=session)
    assert late["message"] == "1 active, 1 failed"
    assert "it broke" in late["results"]["gone"]["error_message"]


# --- plans --------------------------------------------------------------------------------------------------


@promises("CC-9.18")
def test_a_plan_without_anybody_to_plan_names_the_settings(local: Server) -> None:
    response = refused(local, PLAN, {"use_case": "tell the time"})
    assert response.status_code == 501
    error = response.json()["error"]
    assert "WORKBENCH_MODEL_BASE_URL" in error["message"]
    assert "WORKBENCH_COMPOSIO_API_KEY" in error["message"]
    assert SEARCH in error["suggested_fix"]


@promises("CC-9.18")
def test_a_plan_is_made_by_the_model_and_counted(joined: Server, model: model_server.ModelServer) -> None:
    model.content = f"Here it is:\n```json\n{json.dumps(ONE_STEP)}\n```"
    asked = {"use_case": "echo a text", "primary_tool_slugs": ["ECHO_ECHO"], "known_fields": {"text": "hi"}}
    found = data(joined, PLAN, session_id="planned", **asked)
    assert (found["success"], found["source"]) == (True, "model")
    step = found["plan"]["workflow_steps"][0]
    assert (step["step"], step["tool"], step["inputs"]) == (1, "ECHO_ECHO", {"text": "hi"})
    assert found["plan"]["complexity_assessment"]["level"] == "easy"
    question = model.answered[-1]["messages"][-1]["content"]
    assert "echo a text" in question
    assert "Say it again" in question
    with joined.client() as client:
        calls = client.get("/v1/sessions/planned/calls").json()["items"]
    assert ("create_plan", "ok") in [(call["helper"], call["status"]) for call in calls]


@pytest.mark.parametrize(
    "content",
    [
        "I cannot do that",
        "{",
        "[" * 100_000,
        json.dumps({**ONE_STEP, "workflow_steps": []}),
        json.dumps({**ONE_STEP, "workflow_steps": [{"step": 1, "action": "x", "tool": "GMAIL_SEND_EMAIL"}]}),
        json.dumps({**ONE_STEP, "workflow_steps": [{"step": 1, "action": "x", "depends_on": [1]}]}),
    ],
)
def test_what_is_no_plan_is_asked_for_once_more_and_then_refused(
    joined: Server, model: model_server.ModelServer, content: str
) -> None:
    model.content, before = content, len(model.answered)
    response = refused(joined, PLAN, {"use_case": "echo a text"})
    assert response.status_code == 502
    assert "no plan" in response.json()["error"]["message"]
    assert len(model.answered) - before == 2
    assert "An earlier answer could not be used" in model.answered[-1]["messages"][-1]["content"]


@promises("CC-9.18")
def test_a_plan_is_the_backends_where_it_plans(joined: Server, tools: dict[str, composio_backend.Tool]) -> None:
    asked: list[dict[str, Any]] = []

    def plan(arguments: dict[str, Any]) -> Any:
        asked.append(arguments)
        return {"plan": {"steps": ["theirs"]}}

    tools[PLAN] = plan
    found = data(joined, PLAN, use_case="echo", session_id="abcd", difficulty="easy")
    assert (found["source"], found["plan"]) == ("backend", {"steps": ["theirs"]})
    assert asked == [{"use_case": "echo", "difficulty": "easy"}]


@pytest.mark.parametrize("use_case", [None, "", "  ", "a" * 10_001, 3])
def test_a_task_that_is_none_is_named(local: Server, use_case: object) -> None:
    response = refused(local, PLAN, {"use_case": use_case})
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"] == "arguments.use_case"


# --- with a backend -------------------------------------------------------------------------------------------


def _their_search(arguments: dict[str, Any]) -> Any:
    """A backend that finds the same for each query."""
    result = {
        "primary_tool_slugs": ["GMAIL_SEND_EMAIL", "SLACK_SEND_MESSAGE"],
        "related_tool_slugs": ["GMAIL_CREATE_EMAIL_DRAFT"],
        "toolkits": ["gmail", "slack"],
        "recommended_plan_steps": ["Step 1: theirs"],
        "known_pitfalls": ["theirs"],
        "reference_workbench_snippets": [{"any": "thing"}],
        "unknown": 1,
    }
    schema = {"toolkit": "gmail", "tool_slug": "GMAIL_SEND_EMAIL", "description": "Send", "input_schema": {"a": 1}}
    return {
        "results": [{**result, "index": number} for number, _ in enumerate(arguments["queries"], 1)],
        "tool_schemas": {"GMAIL_SEND_EMAIL": schema, "SLACK_SEND_MESSAGE": {"schemaRef": 3}, "OTHER_TOOL": {}},
        "toolkit_connection_statuses": [
            {"toolkit": "gmail", "has_active_connection": False, "status_message": "Connect it"},
            {"toolkit": "other", "has_active_connection": True},
            {"toolkit": 3},
        ],
    }


def test_what_the_backend_finds_comes_after_what_is_here(
    joined: Server, tools: dict[str, composio_backend.Tool], backend: composio_backend.ComposioBackend
) -> None:
    tools[SEARCH] = _their_search
    found = search(joined, "echo: say it again", session_id="abcd")
    (result,) = found["results"]
    assert result["primary_tool_slugs"] == ["ECHO_ECHO", "GMAIL_SEND_EMAIL", "SLACK_SEND_MESSAGE"]
    assert result["related_tool_slugs"][-1] == "GMAIL_CREATE_EMAIL_DRAFT"
    assert result["toolkits"] == ["echo", "gmail", "slack"]
    assert result["recommended_plan_steps"][-1] == "Step 1: theirs"
    assert found["tool_schemas"]["GMAIL_SEND_EMAIL"]["input_schema"] == {"a": 1}
    assert found["tool_schemas"]["SLACK_SEND_MESSAGE"]["hasFullSchema"] is False
    assert "OTHER_TOOL" not in found["tool_schemas"]
    statuses = {one["toolkit"]: one["has_active_connection"] for one in found["toolkit_connection_statuses"]}
    assert statuses == {"echo": True, "gmail": False}
    sent = backend.executed[-1][1]["arguments"]
    assert sent == {
        "queries": [{"use_case": "echo: say it again", "known_fields": ""}],
        "session": {"generate_id": True},
    }


def test_what_a_session_may_not_use_of_a_backend_is_left_out(
    joined: Server, tools: dict[str, composio_backend.Tool]
) -> None:
    tools[SEARCH] = _their_search
    session = session_with(joined, toolkits={"disable": ["gmail"]})
    found = search(joined, "send an email", session_id=session)
    assert found["results"][0]["primary_tool_slugs"] == ["SLACK_SEND_MESSAGE"]
    assert found["results"][0]["recommended_plan_steps"] == []
    assert "gmail" not in json.dumps(found).lower()


@pytest.mark.parametrize("answer", [{"results": 3}, {}, [], {"results": [{"primary_tool_slugs": "A"}]}])
def test_a_backend_that_answers_oddly_takes_nothing_from_what_is_here(
    joined: Server, tools: dict[str, composio_backend.Tool], answer: Any
) -> None:
    tools[SEARCH] = lambda _arguments: answer
    assert search(joined, "echo")["results"][0]["primary_tool_slugs"][0] == "ECHO_ECHO"


def test_a_backend_that_fails_is_told_beside_what_is_here(
    joined: Server, backend: composio_backend.ComposioBackend
) -> None:
    backend.always = Fault.UNAVAILABLE
    try:
        found = search(joined, "echo")
        schemas = data(joined, SCHEMAS, tool_slugs=["ECHO_ECHO", "GMAIL_SEND_EMAIL"])
        connections = data(joined, CONNECTIONS, toolkits=["echo", "gmail"])
    finally:
        backend.always = None
    assert found["results"][0]["primary_tool_slugs"][0] == "ECHO_ECHO"
    assert found["error"].startswith("Only what is configured here was searched: ")
    assert schemas["not_found"] == ["GMAIL_SEND_EMAIL"]
    assert "The tool backend could not be asked" in schemas["message"]
    assert [one["status"] for one in connections["results"].values()] == ["active", "failed"]
    assert composio_backend.KEY not in json.dumps([found, schemas, connections])


def test_schemas_come_from_the_backend_where_they_are_not_here(joined: Server) -> None:
    found = data(joined, SCHEMAS, tool_slugs=["TEST_ECHO", "ECHO_ECHO", "TEST_NOTHING"])
    assert list(found["tool_schemas"]) == ["TEST_ECHO", "ECHO_ECHO"]
    assert found["not_found"] == ["TEST_NOTHING"]


def test_connections_of_other_toolkits_are_the_backends(
    joined: Server, tools: dict[str, composio_backend.Tool], backend: composio_backend.ComposioBackend
) -> None:
    link = {"toolkit": "gmail", "status": "initiated", "redirect_url": "https://link", "instruction": "Click"}
    slack = {"status": "active", "connected_account_id": "ca_1", "redirect_url": None}
    tools[CONNECTIONS] = lambda _arguments: {"results": {"gmail": link, "slack": slack}}
    found = data(joined, CONNECTIONS, toolkits=["gmail", "echo", "slack", "nothing"])
    assert list(found["results"]) == ["gmail", "echo", "slack", "nothing"]
    assert found["results"]["gmail"]["redirect_url"] == "https://link"
    assert found["results"]["slack"]["has_active_connection"] is True
    assert found["results"]["nothing"]["status"] == "failed"
    assert found["message"] == "2 active, 1 initiated, 1 failed"
    assert backend.executed[-1][1]["arguments"]["toolkits"] == ["gmail", "slack", "nothing"]
