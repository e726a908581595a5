"""Statuses and headers of the endpoint."""

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import OTHER_KEY, WORKBENCH, Server
from tests.compat.requirements import promises
from tests.mcp.raw import ACCEPT, VERSION, call, connect, initialize, message, messages_of

NONE = "trs_000000000000000000"


@promises("CC-4.50")
def test_initialize_gives_a_connection_and_says_what_there_is(client: httpx.Client, path: str) -> None:
    response = client.post(path, json=initialize(), headers=ACCEPT)
    (answer,) = messages_of(response)
    assert response.headers["mcp-session-id"]
    assert answer["result"]["protocolVersion"] == VERSION
    assert answer["result"]["capabilities"].keys() == {"tools", "resources"}
    assert answer["result"]["serverInfo"]["name"] == "workbench"
    assert "kept between calls" in answer["result"]["instructions"]


def test_the_session_of_a_label_with_a_slash_is_reached_by_its_encoded_form(client: httpx.Client) -> None:
    assert client.post("/tool_router/desk%2F1/mcp", json=initialize(), headers=ACCEPT).status_code == 200
    assert client.get("/v1/sessions/desk%2F1").status_code == 200


@pytest.mark.parametrize("where", ["path", "/mcp"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_a_known_key_there_is_401_in_the_envelope(
    server: Server, path: str, where: str, method: str, key: str | None
) -> None:
    with server.client(key) as stranger:
        response = stranger.request(method, path if where == "path" else where, headers=ACCEPT)
    assert response.status_code == 401
    assert response.json()["error"]["slug"] == "APIKey_Invalid"


def test_the_id_of_no_session_is_404_in_the_envelope(client: httpx.Client) -> None:
    response = client.post(f"/tool_router/{NONE}/mcp", json=initialize(), headers=ACCEPT)
    assert response.status_code == 404
    assert NONE in response.json()["error"]["message"]


def test_the_session_of_another_key_is_404(server: Server, client: httpx.Client) -> None:
    session_id = client.post("/v1/sessions", json={}).json()["session_id"]
    with server.client(OTHER_KEY) as stranger:
        response = stranger.post(f"/tool_router/{session_id}/mcp", json=initialize(), headers=ACCEPT)
    assert response.status_code == 404


def test_a_connection_is_of_its_key_and_address_only(server: Server, client: httpx.Client, path: str) -> None:
    headers = connect(client, path)
    with server.client(OTHER_KEY) as stranger:
        assert stranger.post(path, json=message("tools/list"), headers=headers).status_code == 404
    assert client.post("/mcp", json=message("tools/list"), headers=headers).status_code == 404
    assert client.post(path, json=message("tools/list"), headers=headers).status_code == 200


def test_a_connection_that_was_ended_is_404(client: httpx.Client, path: str) -> None:
    headers = connect(client, path)
    assert client.delete(path, headers=headers).status_code == 200
    assert client.post(path, json=message("tools/list"), headers=headers).status_code == 404
    assert client.delete(path, headers=headers).status_code == 404


def test_a_session_outlives_the_connection_to_its_address(client: httpx.Client, server: Server, path: str) -> None:
    headers = connect(client, path)
    client.post(path, json=call(WORKBENCH, {"code_to_execute": "x = 5"}), headers=headers)
    client.delete(path, headers=headers)
    assert server.run("x", session=path.split("/")[2])["data"]["results"] == "5"


def test_a_call_without_a_connection_is_served_by_itself(client: httpx.Client, path: str) -> None:
    response = client.post(path, json=call(WORKBENCH, {"code_to_execute": "1 + 1"}), headers=ACCEPT)
    (answer,) = messages_of(response)
    assert "mcp-session-id" not in response.headers
    assert answer["result"]["structuredContent"]["data"]["results"] == "2"
    assert json.loads(answer["result"]["content"][0]["text"]) == answer["result"]["structuredContent"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_stream_or_an_end_without_a_connection_is_400(client: httpx.Client, path: str, method: str) -> None:
    response = client.request(method, path, headers=ACCEPT)
    assert response.status_code == 400
    assert "mcp-session-id" in response.json()["error"]["message"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_are_405(client: httpx.Client, path: str, method: str) -> None:
    response = client.request(method, path, headers=ACCEPT)
    assert response.status_code == 405
    assert response.headers["allow"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"accept": "application/json"}, 406), ({"accept": "text/html"}, 406)],
)
def test_a_client_has_to_take_both_kinds_of_answers(
    client: httpx.Client, path: str, headers: dict[str, str], status: int
) -> None:
    assert client.post(path, json=initialize(), headers=headers).status_code == status


BOMB = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"a":[%b[]]}}}'
"""A message of a few megabytes that would be hundreds of megabytes of objects."""


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b"[" * 100_000, BOMB % (b"[]," * 2_000_000)],
    ids=["empty", "half", "list", "no message", "no text", "deep", "too many values"],
)
def test_a_body_that_is_no_message_is_400(client: httpx.Client, path: str, body: bytes) -> None:
    headers = {**ACCEPT, "content-type": "application/json"}
    assert client.post(path, content=body, headers=headers).status_code == 400


def test_a_refused_opening_leaves_no_connection(client: httpx.Client, path: str) -> None:
    response = client.post(path, json=initialize(), headers={"accept": "text/html"})
    later = {**ACCEPT, "mcp-session-id": response.headers["mcp-session-id"]}
    assert client.post(path, json=message("tools/list"), headers=later).status_code == 404


def test_an_unknown_method_is_an_error_of_the_protocol(client: httpx.Client, path: str) -> None:
    headers = connect(client, path)
    (answer,) = messages_of(client.post(path, json=message("no/such"), headers=headers))
    assert answer["error"]["code"] == -32601


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_earlier_version_of_the_protocol_is_spoken(client: httpx.Client, path: str, version: str) -> None:
    headers = connect(client, path, version)
    body = call(WORKBENCH, {"code_to_execute": "2 + 2"})
    answer: dict[str, Any] = messages_of(client.post(path, json=body, headers=headers))[-1]
    assert json.loads(answer["result"]["content"][0]["text"])["data"]["results"] == "4"


def test_any_host_name_reaches_the_endpoint_with_a_key(client: httpx.Client, path: str) -> None:
    response = client.post(path, json=initialize(), headers={**ACCEPT, "host": "workbench.example.com"})
    assert response.status_code == 200
