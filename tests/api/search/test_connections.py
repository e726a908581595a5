"""The connections of toolkits over HTTP, and waiting for them."""

import json

import pytest

from tests.api.conftest import Server
from tests.api.search.conftest import CONNECTIONS, WAIT, data, refused, session_with
from tests.compat.requirements import promises


def tool_router_session(server: Server, **connections: bool) -> str:
    with server.client() as client:
        body = {"user_id": "waits", "manage_connections": {"enable": True, **connections}}
        response = client.post("/api/v3.1/tool_router/session", json=body)
    assert response.status_code == 201, response.text
    made: str = response.json()["session_id"]
    return made


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
