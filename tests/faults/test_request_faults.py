"""Bad requests over a real server: a 4xx that names the field, bounded in time and memory, nothing written anywhere."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.limits import EXECUTIONS_QUEUED_MAX, MIB
from tests.api.conftest import BASH, KEY, OTHER_KEY, WORKBENCH, Server, running_server
from tests.compat.requirements import promises
from tests.support.faulty_engine import EXECUTE, Bench, answer_of, envelope

PATHS = [EXECUTE, f"/api/v3.1/tools/execute/{BASH}", "/v1/sessions/x/executions"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose engine is not there: a good request ends as 503, so what is refused is refused before that."""
    with running_server(
        tmp_path_factory.mktemp("requests"),
        api_keys=KEY,
        runtime="docker",
        docker_host="unix:///nonexistent/engine.sock",
        pool_size="0",
        request_timeout_s="2",
    ) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as connected:
        yield connected


def body_of(path: str, **fields: Any) -> dict[str, Any]:
    """A good body for each way to run something, with `fields` in the place of its arguments."""
    if path.endswith("/executions"):
        return {"command": "true", **fields}
    return {"arguments": {"code_to_execute": "1", "command": "true", **fields}}


# --- bodies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_body_of_50_mb_is_refused_and_the_server_goes_on(client: httpx.Client, path: str) -> None:
    error = envelope(client.post(path, content=b'{"a":"' + b"x" * (50 * MIB) + b'"}'), 413)
    assert error["slug"] == "Request_TooLarge"
    assert str(32 * MIB) in error["message"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": Infinity}', id="Infinity"),
        pytest.param(b'{"a": 1,}', id="a comma too many"),
        pytest.param(b'{"a": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"a": "\x00"}', id="a bare NUL"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', id="a byte order mark"),
        pytest.param(b'{"a": "\xc3"}', id="broken UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
        pytest.param(b'{"a":' * 100_000, id="nested without an end"),
        pytest.param(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", id="nested too deep"),
        pytest.param(b"a=1&b=2", id="a form"),
    ],
)
def test_what_is_no_json_object_is_malformed_whatever_it_calls_itself(
    client: httpx.Client, path: str, body: bytes
) -> None:
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", "x", ""):
        error = envelope(client.post(path, content=body, headers={"content-type": kind}), 400)
        assert error["slug"] == "Request_Malformed"


@promises("CC-2.05", "CC-9.16")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("timeout", ["60", True, [], {}, 0, -1, 0.5, 1e308, 10**18, 781], ids=json.dumps)
def test_a_bad_time_limit_is_named(client: httpx.Client, path: str, timeout: object) -> None:
    field = "timeout" if path.endswith(("/executions", WORKBENCH)) else "timeout_seconds"
    response = client.post(path, json=body_of(path, timeout=timeout, timeout_seconds=timeout))
    error = envelope(response, 422)
    assert [each["path"].rpartition(".")[2] for each in error["fields"]] in (["timeout"], [field])


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400, "-" + "1" * 10_000, "0x10", "01", "1_000", "+1"])
def test_a_number_that_no_json_number_type_holds_is_refused(client: httpx.Client, number: str) -> None:
    body = '{"arguments": {"code_to_execute": "1", "timeout": ' + number + "}}"
    response = client.post(EXECUTE, content=body)
    assert response.status_code in (400, 422), response.text
    envelope(response, response.status_code)


@pytest.mark.parametrize("value", [5, True, [], {}, 1.5], ids=str)
@pytest.mark.parametrize("field", ["code_to_execute", "session_id"])
def test_a_field_of_the_wrong_type_is_named(client: httpx.Client, field: str, value: object) -> None:
    body = {"arguments": {"code_to_execute": "1", field: value}}
    error = envelope(client.post(EXECUTE, json=body), 422)
    assert [each["path"] for each in error["fields"]] == [f"arguments.{field}"]


@promises("CC-0.09")
def test_fields_that_nobody_knows_are_ignored(client: httpx.Client) -> None:
    body = {"arguments": {"code_to_execute": "1", "\U0001f600": 1, "__class__": {}}, "x" * 10_000: [None], "": 0}
    assert client.post(EXECUTE, json=body).json()["error"]["slug"] == "Runtime_EngineUnavailable"


def test_of_a_key_given_twice_the_last_one_counts(client: httpx.Client) -> None:
    body = '{"arguments": {"code_to_execute": 5}, "arguments": {"code_to_execute": "1", "timeout": "x", "timeout": 5}}'
    assert client.post(EXECUTE, content=body).json()["error"]["slug"] == "Runtime_EngineUnavailable"


# --- names ------------------------------------------------------------------------------------------------

LABELS = [
    "..",
    "../../../../tmp/planted",
    "/etc/passwd",
    "a/../../b",
    "..\\..\\b",
    "%2e%2e%2f",
    "nul\x00byte",
    "new\nline",
    "\u202egnp.exe",
    "\U0001f600" * 50,
    "x" * 100_000,
    " ",
    "'; DROP TABLE sessions; --",
    "${jndi:ldap://x}",
    "label/x",
    "trs",
]


@pytest.mark.parametrize("label", LABELS, ids=lambda label: ascii(label)[:30])
def test_any_text_is_a_label_and_nothing_is_written_for_it(server: Server, client: httpx.Client, label: str) -> None:
    before = {path.name for path in server.data_dir.rglob("*")}
    body = {"arguments": {"code_to_execute": "1", "session_id": label}}
    assert client.post(EXECUTE, json=body).json()["error"]["slug"] == "Runtime_EngineUnavailable"
    first = client.get("/v1/sessions?limit=1").json()["items"][0]
    client.post(EXECUTE, json=body)
    assert client.get("/v1/sessions?limit=1").json()["items"][0] == first
    assert {path.name for path in server.data_dir.rglob("*")} == before
    assert not Path("/tmp/planted").exists()


@pytest.mark.parametrize("ref", ["trs_..", "trs_%2e%2e", "trs_" + "x" * 400, "trs_\x00", "trs_' OR 1=1"])
def test_a_bad_session_id_is_not_found(client: httpx.Client, ref: str) -> None:
    body = {"arguments": {"code_to_execute": "1", "session_id": ref}}
    assert envelope(client.post(EXECUTE, json=body), 404)["slug"] == "Resource_NotFound"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("ref", ["..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "x" * 5000, "trs_%2e%2e"])
def test_a_bad_name_in_a_path_is_refused(client: httpx.Client, method: str, ref: str) -> None:
    response = client.request(method, f"/v1/sessions/{ref}")
    assert response.status_code in (404, 422)
    envelope(response, response.status_code)


# --- slow and broken clients --------------------------------------------------------------------------------


def connect(server: Server) -> socket.socket:
    port = httpx.URL(server.url).port
    assert port is not None
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def all_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    said = b""
    try:
        while data := connection.recv(65_536):
            said += data
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize("said", [b"", b"POST ", b"POST / HTTP/1.1\r\nhost: x\r\n", b"GET /healthz HTTP/1.1\r\nx: "])
def test_a_head_that_does_not_come_to_its_end_is_cut(server: Server, said: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(said)
        assert all_of(connection) == b""


def test_a_head_that_stops_on_a_connection_that_was_used_is_cut(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /heal")
        assert all_of(connection).startswith(b"HTTP/1.1 200")


def test_a_head_without_an_end_is_refused_by_its_size(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 100_000)
        said = all_of(connection)
    assert said.startswith(b"HTTP/1.1 400 ") or said == b""


def test_what_is_no_http_gets_the_envelope(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        head, _, body = all_of(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    error = json.loads(body)["error"]
    assert error["slug"] == "Request_Malformed"
    assert error["request_id"] in head.decode()


@pytest.mark.parametrize("framing", ["content-length: 1000", "transfer-encoding: chunked"])
def test_a_body_that_does_not_come_to_its_end_is_refused_in_time(server: Server, framing: str) -> None:
    with connect(server) as connection:
        head = f"POST {EXECUTE} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\n{framing}\r\n\r\n"
        connection.sendall(head.encode() + (b"1\r\n{\r\n" if "chunked" in framing else b"{"))
        said = all_of(connection)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"x-should-retry: false" in said
    assert b"Request_TooSlow" in said


def test_code_that_runs_long_after_its_body_came_is_left_alone(short_folder: Path) -> None:
    with running_server(short_folder, api_keys=KEY, request_timeout_s="1", pool_size="0") as server:
        assert server.run("import time; time.sleep(2); 'rested'", session="x")["data"]["results"] == "'rested'"


# --- many at once ---------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_fifty_requests_at_once_for_a_new_label_share_one_sandbox(workplace: Bench, label: str) -> None:
    before = set(workplace.containers())
    with ThreadPoolExecutor(50) as threads:
        asked = [
            threads.submit(workplace.server.run, f"seen = globals().get('seen', 0) + 1; {n}", session=label)
            for n in range(50)
        ]
        answers = [each.result() for each in asked]
    assert all(answer["successful"] for answer in answers)
    assert len({answer["data"]["sandbox_id_suffix"] for answer in answers}) == 1
    assert workplace.server.run("seen", session=label)["data"]["results"] == "50"
    assert len(set(workplace.containers()) - before) == 1


@pytest.mark.docker
def test_the_same_label_of_two_keys_is_two_sandboxes(workplace: Bench, label: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(
            lambda key: workplace.server.run(f"whose = {key!r}", session=label, key=key), [KEY, OTHER_KEY]
        )
    assert first["data"]["sandbox_id_suffix"] != second["data"]["sandbox_id_suffix"]
    assert first["data"]["session"]["id"] != second["data"]["session"]["id"]
    for key in (KEY, OTHER_KEY):
        assert workplace.server.run("whose", session=label, key=key)["data"]["results"] == repr(key)


@pytest.mark.docker
def test_new_sessions_at_once_without_a_pool_are_all_served(workplace: Bench, label: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda n: workplace.server.run(f"{n}", session=f"{label} {n}"), range(6)))
    assert [answer["data"]["results"] for answer in answers] == [str(n) for n in range(6)]
    assert len({answer["data"]["sandbox_id_suffix"] for answer in answers}) == 6


@promises("CC-1.46")
@pytest.mark.docker
def test_a_session_with_too_much_to_do_says_when_to_come_back(workplace: Bench, label: str) -> None:
    workplace.begin(label)
    with workplace.server.client() as client:
        path = f"/v1/sessions/{label}/executions"
        queued = [
            client.post(path, json={"code": "1"}).json()["execution_id"] for _ in range(EXECUTIONS_QUEUED_MAX + 1)
        ]
        assert workplace.ended(queued[-1])["failure"]["slug"] == "Service_Overloaded"
        response = client.post(EXECUTE, json={"arguments": {"code_to_execute": "1", "session_id": label}})
        assert envelope(response)["slug"] == "Service_Overloaded"
        assert int(response.headers["retry-after"]) > 0
        assert client.post(f"/v1/sessions/{label}/interrupt").status_code == 200
    assert answer_of(workplace.ended(queued[0]))["ending"] == "interrupted"  # then there is room for one more
    assert workplace.server.run("1", session=label)["successful"]
