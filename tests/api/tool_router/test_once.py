"""An execution is never run twice: retries join it, and nobody else does."""

import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import BASH, KEY, OTHER_KEY, WORKBENCH, Server
from tests.api.tool_router.conftest import SESSIONS, execute, make, path, refused
from tests.compat.requirements import promises

RETRY = {"x-stainless-retry-count": "1"}
FIRST = {"x-stainless-retry-count": "0"}


@pytest.fixture
def counter() -> Iterator[Path]:
    """A file that gets a line for each time that code runs: the process runtime has the machine's files."""
    with tempfile.TemporaryDirectory(prefix="wbt-") as folder:
        yield Path(folder) / "ran"


def counted(counter: Path, seconds: float = 0) -> dict[str, Any]:
    return {
        "code_to_execute": f"open({str(counter)!r}, 'a').write('ran\\n')\nimport time\ntime.sleep({seconds})\n'done'"
    }


def ran(counter: Path) -> int:
    return len(counter.read_text().splitlines()) if counter.exists() else 0


def roads(session: dict[str, Any], arguments: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    with_session = {**arguments, "session_id": session["session_id"]}
    return [
        (path(session, "/execute"), {"tool_slug": WORKBENCH, "arguments": arguments}),
        (path(session, "/execute_meta"), {"slug": WORKBENCH, "arguments": arguments}),
        (f"/api/v3/tools/execute/{WORKBENCH}", {"arguments": with_session}),
    ]


@promises("CC-5.12")
@pytest.mark.parametrize("road", range(3), ids=["execute", "execute_meta", "direct"])
def test_fifty_retries_of_what_runs_join_it(client: httpx.Client, counter: Path, road: int) -> None:
    session = make(client)
    execute(client, session, BASH, {"command": "true"})
    at, body = roads(session, counted(counter, 1.5))[road]
    with ThreadPoolExecutor(51) as threads:
        first = threads.submit(client.post, at, json=body, headers=FIRST)
        watch = f"until [ -e {counter} ]; do sleep 0.01; done"
        execute(client, session, BASH, {"command": watch})
        answers = [threads.submit(client.post, at, json=body, headers=RETRY) for _ in range(50)]
        whole = first.result()
        assert [answer.result().content for answer in answers] == [whole.content] * 50
    assert whole.json()["data"]["results"] == "'done'"
    assert ran(counter) == 1


def test_a_retry_of_what_has_ended_gets_its_answer(client: httpx.Client, counter: Path) -> None:
    session = make(client)
    for at, body in roads(session, counted(counter)):
        first = client.post(at, json=body)
        assert client.post(at, json=body, headers=RETRY).content == first.content
    assert ran(counter) == 3


def test_equal_requests_that_are_no_retries_are_executed_each(client: httpx.Client, counter: Path) -> None:
    session = make(client)
    at, body = roads(session, counted(counter))[0]
    logs = {client.post(at, json=body, headers=headers).json()["log_id"] for headers in ({}, {}, FIRST, FIRST)}
    assert (len(logs), ran(counter)) == (4, 4)


@pytest.mark.parametrize(
    "other", ["body", "path", "owner", "first"], ids=["another body", "another path", "another key", "nothing before"]
)
def test_a_retry_of_something_else_is_executed(server: Server, counter: Path, other: str) -> None:
    with server.client() as client, server.client(OTHER_KEY) as stranger:
        body: dict[str, Any] = {"arguments": {**counted(counter), "session_id": f"once {other} {counter.parent.name}"}}
        at = f"/api/v3/tools/execute/{WORKBENCH}"
        if other != "first":
            assert client.post(at, json=body).json()["successful"]
        match other:
            case "body":
                body = {**body, "user_id": "somebody"}
            case "path":
                at = at.replace("/v3/", "/v3.1/")
        asking = stranger if other == "owner" else client
        assert asking.post(at, json=body, headers=RETRY).json()["successful"]
        assert ran(counter) == (1 if other == "first" else 2)


@pytest.mark.parametrize("count", ["", "-1", "x", "1.5", "9" * 100])
def test_a_count_that_is_none_says_nothing(client: httpx.Client, counter: Path, count: str) -> None:
    session = make(client)
    at, body = roads(session, counted(counter))[0]
    for _ in range(2):
        assert client.post(at, json=body, headers={"x-stainless-retry-count": count}).status_code == 200
    assert ran(counter) == 2


@promises("CC-5.13")
def test_an_idempotency_key_does_the_same_for_any_client(client: httpx.Client, counter: Path) -> None:
    session = make(client)
    at, body = roads(session, counted(counter))[0]
    key = {"Idempotency-Key": f"key of {session['session_id']}"}
    answers = [client.post(at, json=body, headers=key).content for _ in range(3)]
    assert len(set(answers)) == 1
    assert ran(counter) == 1
    for another, place in ((counted(counter, 0.01), at), (counted(counter), path(session, "/execute_meta"))):
        wrong = {**body, "slug": WORKBENCH, "arguments": another}
        error = refused(client.post(place, json=wrong, headers=key), 422, "Idempotency-Key")
        assert error["fields"][0]["path"] == "Idempotency-Key"
    assert ran(counter) == 1
    other_key = {"Idempotency-Key": "another key"}
    assert client.post(at, json=body, headers=other_key).status_code == 200
    assert ran(counter) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_what_is_no_idempotency_key_is_refused(client: httpx.Client, key: str) -> None:
    session = make(client)
    at, body = roads(session, {"code_to_execute": "1"})[0]
    refused(client.post(at, json=body, headers={"Idempotency-Key": key}), 422, "Idempotency-Key")


def test_a_refusal_is_not_kept(client: httpx.Client) -> None:
    session = make(client, workbench={"enable": False})
    at, body = roads(session, {"code_to_execute": "1"})[0]
    refused(client.post(at, json=body, headers=FIRST), 400, "workbench.enable")
    client.patch(path(session), json={"workbench": {"enable": True}})
    assert client.post(at, json=body, headers=RETRY).json()["result_type"] == "completed"


# --- clients that leave -------------------------------------------------------------------------------


def leave(server: Server, at: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    """Send a request as a client whose patience ends once the code runs: its connection is cut."""
    request = httpx.Request(
        "POST", f"{server.url}{at}", json=body, headers={"x-api-key": KEY, "connection": "close", **headers}
    )
    lines = [f"POST {at} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    with socket.create_connection((request.url.host, request.url.port or 80)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.content)
        with server.client() as client:
            watch = f"until [ -e {body['arguments']['code_to_execute'].split(chr(39))[1]} ]; do sleep 0.01; done"
            response = client.post(
                f"{SESSIONS}/{at.split('/')[5]}/execute", json={"tool_slug": BASH, "arguments": {"command": watch}}
            )
            assert response.json()["data"]["exit_code"] == 0


@pytest.mark.parametrize("headers", [FIRST, {"Idempotency-Key": "left"}], ids=["counts retries", "has a key"])
def test_a_client_that_comes_back_finds_its_execution(server: Server, counter: Path, headers: dict[str, str]) -> None:
    with server.client() as client:
        session = make(client)
        at, body = roads(session, counted(counter, 1))[0]
        leave(server, at, body, headers)
        again = RETRY if headers is FIRST else headers
        answer = client.post(at, json=body, headers=again).json()
        assert (answer["result_type"], answer["data"]["results"]) == ("completed", "'done'")
        assert ran(counter) == 1
