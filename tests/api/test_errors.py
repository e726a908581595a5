"""Every way to fail over HTTP: the envelope is complete, and clients are told not to run code again."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from sandbox import errors
from sandbox.api.errors import error_response
from sandbox.api.middleware import RequestContext
from sandbox.client import parse_events
from sandbox.metrics import Metrics
from tests.api.conftest import BASH, KEY, WORKBENCH, Server, running_server
from tests.compat.requirements import promises

EXECUTE = f"/api/v3/tools/execute/{WORKBENCH}"
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without an engine and with a small limit: nothing here needs a sandbox."""
    with running_server(
        tmp_path_factory.mktemp("errors"),
        api_keys=KEY,
        runtime="docker",
        docker_host="unix:///nonexistent/engine.sock",
        max_body_bytes=str(LIMIT),
    ) as running:
        yield running


def check(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Check the envelope; its inside."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert error["status"] == status
    assert error["slug"] == slug
    assert isinstance(error["code"], int)
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert set(error) <= {"message", "code", "slug", "status", "request_id", "suggested_fix", "errors", "fields"}
    if response.request.method == "POST" and response.request.url.path.endswith((WORKBENCH, BASH, "/executions")):
        assert response.headers["x-should-retry"] == "false"
    return error


# --- who asks -----------------------------------------------------------------------------------------

LET_IN: list[dict[str, str]] = [
    {"x-api-key": KEY},
    {"x-user-api-key": KEY},
    {"authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer {KEY}"},
]
KEPT_OUT: list[dict[str, str]] = [
    {},
    {"x-api-key": ""},
    {"x-api-key": "wrong"},
    {"x-api-key": KEY + "x"},
    {"x-api-key": KEY[:-1]},
    {"authorization": KEY},
    {"authorization": f"Basic {KEY}"},
    {"authorization": "Bearer"},
    {"x-api-key": "wrong", "authorization": f"Bearer {KEY}"},
]
CLOSED = [
    ("POST", EXECUTE),
    ("POST", f"/api/v3.1/tools/execute/{BASH}"),
    ("GET", "/v1/sessions"),
    ("GET", "/v1/sessions/x"),
    ("DELETE", "/v1/sessions/x"),
    ("POST", "/v1/sessions/x/interrupt"),
    ("POST", "/v1/sessions/x/restart_kernel"),
    ("GET", "/v1/sessions/x/executions"),
    ("POST", "/v1/sessions/x/executions"),
    ("GET", "/v1/executions/x"),
    ("POST", "/v1/executions/x/interrupt"),
    ("GET", "/v1/executions/x/events"),
]


@promises("CC-4.60")
@pytest.mark.parametrize("headers", LET_IN, ids=str)
def test_a_key_is_taken_in_any_of_the_usual_headers(server: Server, headers: dict[str, str]) -> None:
    with server.client(None) as client:
        assert client.get("/v1/sessions", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", KEPT_OUT, ids=str)
def test_who_has_no_good_key_is_kept_out(server: Server, headers: dict[str, str]) -> None:
    with server.client(None) as client:
        check(client.get("/v1/sessions", headers=headers), 401, "APIKey_Invalid")


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_all_that_touches_sessions_needs_a_key(server: Server, method: str, path: str) -> None:
    with server.client(None) as client:
        check(client.request(method, path), 401, "APIKey_Invalid")


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/openapi.json", "/metrics"])
def test_what_tells_nothing_of_sessions_needs_no_key_from_this_machine(server: Server, path: str) -> None:
    with server.client(None) as client:
        assert client.get(path).status_code == 200


def test_metrics_need_a_key_behind_a_proxy(server: Server) -> None:
    with server.client(None) as client:
        check(client.get("/metrics", headers={"x-forwarded-for": "127.0.0.1"}), 401, "APIKey_Invalid")


# --- what is asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"arguments": NaN}', b"[]", b"3", b"null", b'"x"', b"\xff\xfe", b'{"a":"\xff"}', b'{"a":"\\ud800"}'],
)
def test_a_body_that_is_no_json_object_is_malformed(client: httpx.Client, body: bytes) -> None:
    check(client.post(EXECUTE, content=body), 400, "Request_Malformed")


def test_json_that_is_nested_too_deep_is_malformed(client: httpx.Client) -> None:
    check(client.post(EXECUTE, content=b'{"a":' + b"[" * 40_000), 400, "Request_Malformed")


@promises("CC-9.16")
@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, ["arguments.code_to_execute"]),
        ({"arguments": None}, ["arguments.code_to_execute"]),
        ({"arguments": []}, ["arguments"]),
        ({"arguments": {"code_to_execute": 5, "timeout": "60"}}, ["arguments.code_to_execute", "arguments.timeout"]),
        ({"arguments": {"code_to_execute": "1", "timeout": 781}}, ["arguments.timeout"]),
        ({"arguments": {"code_to_execute": "1"}, "user_id": 7}, ["user_id"]),
    ],
)
def test_every_bad_field_is_named(client: httpx.Client, body: dict[str, Any], paths: list[str]) -> None:
    error = check(client.post(EXECUTE, json=body), 422, "Request_ValidationError")
    assert [each["path"] for each in error["fields"]] == paths
    assert all(each["reason"] for each in error["fields"])


@promises("CC-2.17")
def test_missing_code_is_told_in_the_words_that_clients_know(client: httpx.Client) -> None:
    error = check(client.post(EXECUTE, json={"arguments": {}}), 422, "Request_ValidationError")
    assert error["message"] == 'Validation error: Required at "code_to_execute"'


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": 1},
        {"code": "1", "command": "true"},
        {"command": "true", "timeout": 781},
        {"code": "1", "timeout": 0},
    ],
)
def test_an_execution_needs_one_thing_to_run_and_a_good_limit(client: httpx.Client, body: dict[str, Any]) -> None:
    check(client.post("/v1/sessions/x/executions", json=body), 422, "Request_ValidationError")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=100000"])
def test_a_bad_query_is_refused(client: httpx.Client, query: str) -> None:
    check(client.get(f"/v1/sessions?{query}"), 422, "Request_ValidationError")


# --- what is not there --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/api/v3", "/api/v2/tools/execute/X", "/v1", "/v1/files", "/%00", "/../etc/passwd"]
)
def test_an_unknown_path_is_not_found(client: httpx.Client, path: str) -> None:
    check(client.get(path), 404, "Resource_NotFound")


@pytest.mark.parametrize(("method", "path"), [("GET", EXECUTE), ("PUT", "/v1/sessions"), ("POST", "/healthz")])
def test_a_method_that_a_path_does_not_have_is_refused(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, path)
    check(response, 405, "Method_NotAllowed")
    assert response.headers["allow"]


@promises("CC-8.12")
@pytest.mark.parametrize("slug", ["COMPOSIO_NOT_THERE", "GMAIL_SEND_EMAIL", "x" * 5000])
def test_an_unknown_tool_is_not_found_and_the_known_ones_are_named(client: httpx.Client, slug: str) -> None:
    error = check(client.post(f"/api/v3/tools/execute/{slug}", json={"arguments": {}}), 404, "Tool_NotFound")
    assert WORKBENCH in error["message"]
    assert BASH in error["message"]
    assert len(error["message"]) < 400


def test_a_session_id_that_nobody_has_is_not_found(client: httpx.Client) -> None:
    body = {"arguments": {"code_to_execute": "1", "session_id": "trs_nobody"}}
    check(client.post(EXECUTE, json=body), 404, "Resource_NotFound")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/sessions/trs_nobody"),
        ("GET", "/v1/sessions/a label of nobody"),
        ("DELETE", "/v1/sessions/trs_nobody"),
        ("POST", "/v1/sessions/trs_nobody/interrupt"),
        ("POST", "/v1/sessions/trs_nobody/restart_kernel"),
        ("GET", "/v1/sessions/trs_nobody/executions"),
        ("GET", "/v1/sessions?after=trs_nobody"),
        ("GET", "/v1/executions/exe_nobody"),
        ("GET", "/v1/executions/exe_nobody/events"),
        ("POST", "/v1/executions/exe_nobody/interrupt"),
    ],
)
def test_what_is_not_there_is_not_found(client: httpx.Client, method: str, path: str) -> None:
    check(client.request(method, path), 404, "Resource_NotFound")


# --- size ---------------------------------------------------------------------------------------------


@promises("CC-8.07")
def test_a_body_over_the_limit_is_refused_by_its_announced_length(client: httpx.Client) -> None:
    error = check(client.post(EXECUTE, content=b"x" * (LIMIT + 1)), 413, "Request_TooLarge")
    assert str(LIMIT) in error["message"]


def test_a_body_far_over_the_limit_still_gets_its_answer(client: httpx.Client) -> None:
    check(client.post(EXECUTE, content=b"x" * (3 * LIMIT)), 413, "Request_TooLarge")


def test_a_client_that_asks_before_it_sends_is_refused_before_it_sends(server: Server) -> None:
    port = httpx.URL(server.url).port
    assert port is not None
    head = f"POST {EXECUTE} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {LIMIT + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_refused_when_it_passes_the_limit(client: httpx.Client) -> None:
    pieces = (b"x" * 10_000 for _ in range(20))
    check(client.post(EXECUTE, content=pieces), 413, "Request_TooLarge")


def test_a_body_of_just_the_limit_is_read(client: httpx.Client) -> None:
    check(client.post(EXECUTE, content=b" " * LIMIT), 400, "Request_Malformed")


# --- what is broken -----------------------------------------------------------------------------------


def test_a_missing_engine_is_named_and_the_code_is_not_run_again(client: httpx.Client) -> None:
    body = {"arguments": {"code_to_execute": "1", "timeout": 5}}
    error = check(client.post(EXECUTE, json=body), 503, "Runtime_EngineUnavailable")
    assert error["suggested_fix"]


def test_where_the_engine_is_is_for_the_log_and_not_for_clients(client: httpx.Client, server: Server) -> None:
    body = {"arguments": {"code_to_execute": "1", "timeout": 5}}
    told = client.post(EXECUTE, json=body).text + client.get("/readyz").text
    assert "no Docker engine answers" in told
    assert "engine.sock" not in told
    assert "engine.sock" in server.log.read_text()


def test_an_execution_that_got_no_sandbox_ends_with_the_cause(client: httpx.Client) -> None:
    item = client.post("/v1/sessions/x/executions", json={"command": "true"}).json()
    path = f"/v1/executions/{item['execution_id']}"
    with client.stream("GET", f"{path}/events") as response:
        events = list(parse_events(response.iter_lines()))
    assert events[-1].name == "ended"
    assert events[-1].data["failure"]["slug"] == "Runtime_EngineUnavailable"
    ended = client.get(path).json()
    assert ended["state"] == "ended"
    assert ended["failure"]["slug"] == "Runtime_EngineUnavailable"
    assert not {"data", "error", "successful"} & set(ended)


def test_a_server_without_its_engine_is_alive_but_not_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "checks": {}}
    response = client.get("/readyz")
    assert response.status_code == 503
    body = response.json()
    assert body["status"] == "unavailable"
    assert body["checks"]["store"] == "ok"
    assert body["checks"]["engine"] != "ok"


def test_half_a_request_does_not_hurt_the_server(server: Server, client: httpx.Client) -> None:
    port = httpx.URL(server.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"POST {EXECUTE} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 50\r\n\r\n"
        connection.sendall(f"{head}{{".encode())
    assert any('status="499"' in client.get("/metrics").text for _ in range(1000))
    assert "defect" not in server.log.read_text()


def test_keys_and_code_are_not_in_the_log(server: Server, client: httpx.Client) -> None:
    client.post(EXECUTE, json={"arguments": {"code_to_execute": "a_line_of_code = 1", "timeout": "bad"}})
    log = server.log.read_text()
    assert "request_id=" in log
    assert KEY not in log
    assert "a_line_of_code" not in log


# --- request ids --------------------------------------------------------------------------------------


def test_a_sane_request_id_is_echoed(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"


@pytest.mark.parametrize("given", ["", "a b", "x" * 101, "a\tb", "ä".encode().decode("latin-1")])
def test_any_other_request_id_is_replaced(client: httpx.Client, given: str) -> None:
    headers = {"x-request-id": given.encode("latin-1")}
    answered = client.get("/healthz", headers=headers).headers["x-request-id"]  # type: ignore[arg-type] # bytes
    assert answered.startswith("req_")


# --- by class, without a server -----------------------------------------------------------------------


def all_errors() -> Iterator[errors.WorkbenchError]:
    """One error of every class of the tree."""
    classes: list[type[Any]] = [errors.WorkbenchError]
    while classes:
        each = classes.pop()
        classes += [kind for kind in each.__subclasses__() if kind.__module__ == errors.__name__]
        yield each("fault", "words") if issubclass(each, errors.CallFault) else each("words")


@promises("CC-0.07")
@pytest.mark.parametrize("error", list(all_errors()), ids=lambda error: type(error).__name__)
def test_every_error_of_the_tree_has_its_envelope(error: errors.WorkbenchError) -> None:
    response = error_response(error, "req_1", EXECUTE)
    assert response.status_code == error.status
    assert response.headers["x-should-retry"] == "false"
    inside = msgspec.json.decode(response.body)["error"]
    assert inside == {
        "message": "words",
        "code": error.code,
        "slug": error.slug,
        "status": error.status,
        "request_id": "req_1",
    }


def test_codes_and_slugs_are_unique() -> None:
    kinds = list(all_errors())
    assert len({error.slug for error in kinds}) == len(kinds)


@promises("CC-1.46")
def test_an_overload_says_when_to_come_back() -> None:
    response = error_response(errors.Overloaded("full", retry_after_s=7), "req_1", "/v1/sessions")
    assert response.headers["retry-after"] == "7"
    assert "x-should-retry" not in response.headers


@pytest.fixture
async def broken(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with a defect, below the layer that is the border."""

    async def defect(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise KeyError("a secret detail")

    transport = httpx.ASGITransport(app=RequestContext(defect, metrics=Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


@pytest.mark.anyio
async def test_a_defect_is_a_500_that_tells_nothing_but_its_request_id(broken: httpx.AsyncClient) -> None:
    response = await broken.post(EXECUTE, json={})
    error = check(response, 500, "Internal_Error")
    assert "secret" not in response.text
    assert error["request_id"].startswith("req_")


def test_the_server_says_nothing_of_its_own_files_when_it_refuses(server: Server, client: httpx.Client) -> None:
    for path in (EXECUTE, "/v1/sessions/trs_x"):
        assert str(Path(__file__).parents[2]) not in client.post(path, content=b"{").text
