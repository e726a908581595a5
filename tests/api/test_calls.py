"""Helper calls of a real session over HTTP: listed, followed live, and held to the session's rules."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from sandbox.client import parse_events
from tests.api.conftest import KEY, OTHER_KEY, Server, running_server
from tests.compat.requirements import promises
from tests.support import composio_backend
from tests.support.faulty_server import in_thread

ECHO = "run_composio_tool('TEST_ECHO', {'n': 1})"


@pytest.fixture(scope="module")
def backend() -> Iterator[composio_backend.ComposioBackend]:
    backend = composio_backend.ComposioBackend()
    with in_thread(backend):
        yield backend


@pytest.fixture(scope="module")
def calling(backend: composio_backend.ComposioBackend) -> Iterator[Server]:
    """A server whose helpers reach a tool backend."""
    with (
        TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(
            Path(folder),
            api_keys=f"{KEY},{OTHER_KEY}",
            composio_api_key=composio_backend.KEY,
            composio_base_url=backend.url,
        ) as server,
    ):
        yield server


@pytest.fixture
def caller(calling: Server) -> Iterator[httpx.Client]:
    with calling.client() as client:
        yield client


def calls_of(client: httpx.Client, session: str, **query: Any) -> dict[str, Any]:
    response = client.get(f"/v1/sessions/{session}/calls", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_calls_are_listed_newest_first_a_page_at_a_time(calling: Server, caller: httpx.Client) -> None:
    ran = calling.run(f"[{ECHO}[1] for _ in range(2)], run_composio_tool('TEST_FAIL', {{}})[1] != ''", session="listed")
    assert ran["data"]["results"] == "(['', ''], True)"
    execution = ran["data"]["execution"]["id"]
    first = calls_of(caller, "listed", limit=2)
    assert [(item["target"], item["status"]) for item in first["items"]] == [
        ("TEST_FAIL", "failed"),
        ("TEST_ECHO", "ok"),
    ]
    second = calls_of(caller, "listed", limit=2, after=first["next_cursor"])
    assert [item["target"] for item in second["items"]] == ["TEST_ECHO"]
    assert "next_cursor" not in second
    item = second["items"][0]
    assert item["helper"] == "run_composio_tool"
    assert item["execution_id"] == execution
    assert item["attempts"] == 1
    assert item["duration_ms"] > 0
    assert "arguments" not in item
    assert len(calls_of(caller, "listed", status="failed")["items"]) == 1
    assert len(calls_of(caller, "listed", execution_id=execution)["items"]) == 3
    assert calls_of(caller, "listed", execution_id="exe_0000000000000000")["items"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/sessions/never-heard-of/calls", 404),
        ("/v1/sessions/asked/calls?after=nonsense", 404),
        ("/v1/sessions/asked/calls?limit=0", 422),
        ("/v1/sessions/asked/calls?status=%00", 422),
        ("/v1/sessions/asked/calls?execution_id=exe_%00", 422),
    ],
)
def test_what_cannot_be_listed_is_refused(calling: Server, caller: httpx.Client, path: str, status: int) -> None:
    calling.bash("true", session="asked")
    assert caller.get(path).status_code == status


def test_calls_belong_to_the_key_that_owns_the_session(calling: Server, caller: httpx.Client) -> None:
    session = calling.run(ECHO, session="mine")["data"]["session"]["id"]
    assert len(calls_of(caller, session)["items"]) == 1
    with calling.client(OTHER_KEY) as other:
        assert other.get(f"/v1/sessions/{session}/calls").status_code == 404


def test_a_follower_hears_of_helper_calls_at_a_bounded_rate(calling: Server, caller: httpx.Client) -> None:
    code = f"for _ in range(200): {ECHO}\nrun_composio_tool('TEST_FAIL', {{}})"
    started = caller.post("/v1/sessions/followed/executions", json={"code": code}).json()
    with caller.stream("GET", f"/v1/executions/{started['execution_id']}/events") as response:
        events = list(parse_events(response.iter_lines()))
    told = [event for event in events if event.name == "helper_call"]
    assert sum(event.data["calls"] for event in told) == 201
    assert sum(event.data["failed"] for event in told) == 1
    assert len(told) < 150
    assert told[-1].data["target"] == "TEST_FAIL"
    assert told[-1].data["helper"] == "run_composio_tool"
    assert events[-1].name == "ended"
    numbered = [event.id for event in events if event.name != "helper_call"]
    assert numbered == list(range(1, len(numbered) + 1))


@promises("CC-1.21")
def test_a_session_is_made_with_rules_that_hold(calling: Server, caller: httpx.Client) -> None:
    config = {"toolkits": {"enable": ["github"]}, "helpers": {"disable": ["web_search"]}}
    made = caller.post("/v1/sessions", json={"label": "ruled", "user_id": "u", "config": config})
    assert made.status_code == 201
    assert made.json()["label"] == "ruled"
    assert made.json()["config"] == config
    assert caller.get(f"/v1/sessions/{made.json()['session_id']}").json()["config"] == config
    error = calling.run(f"{ECHO}[1]", session="ruled")["data"]["results"]
    assert "toolkits.enable: github" in error
    assert "switched off" in calling.run("web_search('x')[1]", session="ruled")["data"]["results"]
    assert {item["status"] for item in calls_of(caller, "ruled")["items"]} == {"refused"}
    taken = caller.post("/v1/sessions", json={"label": "ruled"})
    assert taken.status_code == 409


def test_a_session_without_a_label_is_known_by_its_id(calling: Server, caller: httpx.Client) -> None:
    made = caller.post("/v1/sessions", json={}).json()
    assert made["label"] is None
    assert calling.bash("echo here", session=made["session_id"])["data"]["session"]["id"] == made["session_id"]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"config": {"toolkitz": []}}, "config.toolkitz"),
        ({"config": {"workbench": {"enabled": True}}}, "config.workbench.enabled"),
        ({"config": []}, "config"),
        ({"confg": {}}, "confg"),
        ({"label": ""}, "label"),
        ({"label": "trs_mine"}, "label"),
    ],
)
def test_a_wrong_key_of_a_new_session_is_named(caller: httpx.Client, body: dict[str, Any], key: str) -> None:
    response = caller.post("/v1/sessions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(key)


def test_the_command_line_shows_helper_calls(calling: Server) -> None:
    calling.run(ECHO, session="shown")
    program = [sys.executable, "-m", "sandbox.cli", "sessions", "calls", "shown", "--url", calling.url]
    ran = subprocess.run(
        program, env={**os.environ, "WORKBENCH_API_KEY": KEY}, capture_output=True, text=True, timeout=60, check=True
    )
    heads, row = ran.stdout.splitlines()
    assert heads.split() == ["started", "helper", "target", "status", "ms"]
    assert row.split()[2:5] == ["run_composio_tool", "TEST_ECHO", "ok"]


def test_no_credential_is_in_what_the_server_says_and_logs(calling: Server, caller: httpx.Client) -> None:
    calling.run(ECHO, session="secret")
    calls_of(caller, "secret")
    assert composio_backend.KEY not in calling.log.read_text()
    assert composio_backend.KEY not in caller.get("/metrics").text
