"""What a backend finds beside what is here."""

import json
from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.search.conftest import CONNECTIONS, SCHEMAS, SEARCH, data, search, session_with
from tests.support import composio_backend
from tests.support.faulty_server import Fault


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
