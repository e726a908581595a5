"""What no SDK shows of the contract, over plain HTTP, under both prefixes."""

from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.api.conftest import KEY, Server
from tests.compat.requirements import promises

PREFIXES: Final = ("/api/v3", "/api/v3.1")
WORKBENCH: Final = "COMPOSIO_REMOTE_WORKBENCH"
ENVELOPE: Final = {"message", "code", "slug", "status", "request_id"}

pytestmark = pytest.mark.parametrize("prefix", PREFIXES)


@pytest.fixture
def http(compat: Server) -> Iterator[httpx.Client]:
    """A client with a key."""
    with compat.client() as connected:
        yield connected


@pytest.fixture
def at(http: httpx.Client, prefix: str) -> str:
    """The address of a new session."""
    made = http.post(f"{prefix}/tool_router/session", json={"user_id": "somebody"})
    assert made.status_code == 201, made.text
    return f"{prefix}/tool_router/session/{made.json()['session_id']}"


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is an error with its envelope; the inside of that."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) >= ENVELOPE
    assert [type(error[name]) for name in ("message", "code", "slug", "status")] == [str, int, str, int]
    assert error["status"] == status
    return error


@promises("CC-0.01")
def test_every_path_is_there_under_this_prefix(http: httpx.Client, prefix: str) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    rests = {path.removeprefix(each) for each in PREFIXES for path in paths if path.startswith(f"{each}/")}
    assert len(rests) > 15
    assert {prefix + rest for rest in rests} <= set(paths)


@promises("CC-0.05", "CC-4.10", "CC-4.11", "CC-4.13", "CC-4.14", "CC-4.16", "CC-0.12", "CC-0.15")
def test_each_call_about_a_session_has_its_status(http: httpx.Client, at: str) -> None:
    assert http.get(at).status_code == 200
    assert http.post(f"{at}/attach", json={}).status_code == 200
    assert http.get(f"{at}/toolkits").json()["total_pages"] == 1
    assert http.get(f"{at}/tools", params={"limit": 500}).json()["next_cursor"] is None
    assert "next_cursor" not in http.get(f"{at}/mounts/files/items").json()
    assert http.delete(at).status_code == 200
    for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/tools"), ("POST", "/execute")):
        body = {"tool_slug": WORKBENCH, "arguments": {"code_to_execute": "1"}} if rest == "/execute" else {}
        refused(http.request(method, at + rest, json=body), 404)


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("GET /nothing/there", None, 404),
        ("PUT /tool_router/session", {}, 405),
        ("POST /tool_router/session", {}, 422),
        ("POST /tool_router/session", {"user_id": "somebody", "no_such_key": 1}, 400),
        ("POST /tool_router/session", {"user_id": "somebody", "workbench": {"sandbox_size": "huge"}}, 400),
        ("GET /tools?limit=none", None, 422),
        ("GET /tools/NOBODY_KNOWS", None, 404),
    ],
)
@promises("CC-0.07", "CC-1.06", "CC-1.29")
def test_every_error_has_the_envelope(
    http: httpx.Client, prefix: str, request_line: str, body: dict[str, Any] | None, status: int
) -> None:
    method, rest = request_line.split()
    refused(http.request(method, prefix + rest, json=body), status)


@promises("CC-1.29")
def test_an_unknown_key_is_named_in_a_creation_and_a_change(http: httpx.Client, prefix: str, at: str) -> None:
    created = http.post(f"{prefix}/tool_router/session", json={"user_id": "somebody", "no_such_key": 1})
    assert "no_such_key" in refused(created, 400)["message"]
    assert "no_such_key" in refused(http.patch(at, json={"no_such_key": 1}), 400)["message"]


@pytest.mark.parametrize("rest", ["/execute", "/execute_meta", "/proxy_execute"])
@promises("CC-0.08")
def test_every_error_of_an_execution_says_that_it_is_not_to_be_repeated(
    http: httpx.Client, at: str, prefix: str, rest: str
) -> None:
    for address in (at + rest, f"{prefix}/tools/execute/{WORKBENCH}", f"{prefix}/tools/execute/proxy"):
        for answer in (
            http.post(address, content=b"{"),
            http.post(address, json={}),
            http.get(address),
            httpx.post(f"{http.base_url}{address}", json={}, headers={"x-api-key": "none"}, trust_env=False),
        ):
            assert answer.status_code >= 400
            assert answer.headers["x-should-retry"] == "false"


@promises("CC-0.08", "CC-8.09")
def test_without_room_the_answer_is_503_with_its_reason(full: Server, prefix: str) -> None:
    run = {"arguments": {"code_to_execute": "1", "session_id": "another"}}
    with full.client() as http:
        answer = http.post(f"{prefix}/tools/execute/{WORKBENCH}", json=run)
    error = refused(answer, 503)
    assert "max_sandboxes" in f"{error['message']} {error.get('suggested_fix')}"
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) > 0


@promises("CC-4.18")
def test_the_older_form_of_the_sandboxs_block_is_taken(http: httpx.Client, prefix: str) -> None:
    body = {
        "user_id": "somebody",
        "manage_connections": {"enable": True},
        "workbench": {"enable_proxy_execution": True, "auto_offload_threshold": 20000},
    }
    made = http.post(f"{prefix}/tool_router/session", json=body)
    assert made.status_code == 201
    assert made.json()["config"]["workbench"]["proxy_execution_enabled"] is True


@promises("CC-4.20")
def test_what_newer_clients_send_beside_a_call_is_taken(http: httpx.Client, at: str) -> None:
    body = {
        "tool_slug": WORKBENCH,
        "arguments": {"code_to_execute": "1", "current_step_metric": "1/2 mails", "file_path": "/mnt/files/*"},
        "account": None,
        "enable_auto_workbench_offload": True,
        "input_responses": {},
        "request_state": "any",
        "experimental": {},
    }
    assert http.post(f"{at}/execute", json=body).json()["data"]["results"] == "1"


@promises("CC-3.14")
def test_what_the_published_helpers_send_is_answered(http: httpx.Client, at: str) -> None:
    headers = {"x-api-key": KEY, "x-request-id": "0" * 32, "content-type": "application/json"}
    body = {"tool_slug": "ECHO_ECHO", "arguments": {"text": "said"}}
    answer = http.post(f"{at}/execute", json=body, headers=headers).json()
    assert (answer["data"], answer["error"], answer["result_type"]) == ({"text": "said"}, None, "completed")
    request = {
        "toolkit_slug": "github",
        "endpoint": "/user",
        "method": "GET",
        "parameters": [
            {"name": "per_page", "value": "1", "type": "query"},
            {"name": "accept", "value": "application/json", "type": "header"},
        ],
    }
    answer = http.post(f"{at}/proxy_execute", json=request, headers=headers).json()
    assert (answer["status"], answer["data"]["query"]) == (200, [["per_page", "1"]])


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "Composio/Python 2.0.0-rc.19", "x-sdk-version": "0.30.0", "x-source": "PYTHON_SDK"},
        {"user-agent": "HttpClient/Python 1.43.0", "x-stainless-retry-count": "0", "x-stainless-lang": "python"},
        {"user-agent": "Composio/JS 0.19.0", "x-source": "TYPESCRIPT_SDK", "x-framework": "openai"},
        {"x-org-id": "o", "x-project-id": "p"},
    ],
)
@promises("CC-4.60")
def test_the_headers_of_all_generations_are_taken(http: httpx.Client, at: str, headers: dict[str, str]) -> None:
    assert http.get(at, headers=headers).status_code == 200


_EXCHANGES: Final[list[tuple[dict[str, Any], set[str]]]] = [
    (
        {"tool_slug": WORKBENCH, "arguments": {"code_to_execute": "x = 41\nprint(x + 1)", "thought": "try"}},
        {"results", "stdout", "stderr", "error", "sandbox_id_suffix", "session"},
    ),
    (
        {"tool_slug": "COMPOSIO_REMOTE_BASH_TOOL", "arguments": {"command": "echo hello"}},
        {"stdout", "stdoutLines", "stderr", "stderrLines", "sandbox_id_suffix", "session"},
    ),
    (
        {
            "tool_slug": "COMPOSIO_MULTI_EXECUTE_TOOL",
            "arguments": {
                "tools": [{"tool_slug": "ECHO_ECHO", "arguments": {"text": "a"}}],
                "sync_response_to_workbench": True,
            },
        },
        {"results", "total_count", "success_count", "error_count", "session", "remote_file_info", "next_steps"},
    ),
]


@pytest.mark.parametrize(("body", "fields"), _EXCHANGES, ids=["python", "bash", "several"])
@promises("CC-6.01", "CC-2.11", "CC-2.12", "CC-2.13", "CC-2.16")
def test_recorded_exchanges_have_their_shapes(
    http: httpx.Client, at: str, body: dict[str, Any], fields: set[str]
) -> None:
    answer = http.post(f"{at}/execute", json=body).json()
    assert set(answer) == {"data", "error", "log_id", "result_type"}
    assert fields <= set(answer["data"])
    assert not {"results_file_path", "stdout_file_path", "stderr_file_path"} & set(answer["data"])
