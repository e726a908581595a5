"""Search over HTTP, with real MCP servers as the toolkits."""

import json
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.search.conftest import CONNECTIONS, SCHEMAS, SEARCH, data, named, refused, search, session_with
from tests.compat.requirements import promises


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
