"""A server with toolkits: an MCP server, an API host, and a tool backend, for the tests of one file."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.api.conftest import KEY, OTHER_KEY, ROOT, Server, running_server
from tests.support.api_host import CREDENTIAL, ApiHost
from tests.support.faulty_server import in_thread

PREFIXES: Final = ("/api/v3", "/api/v3.1")
SESSIONS: Final = "/api/v3.1/tool_router/session"
ECHO: Final = [sys.executable, "-m", "tests.support.mcp_echo", "stdio"]
DEFAULT_TOOLS: Final = [
    "COMPOSIO_SEARCH_TOOLS",
    "COMPOSIO_GET_TOOL_SCHEMAS",
    "COMPOSIO_MANAGE_CONNECTIONS",
    "COMPOSIO_MULTI_EXECUTE_TOOL",
    "COMPOSIO_REMOTE_WORKBENCH",
    "COMPOSIO_REMOTE_BASH_TOOL",
]


@dataclass(frozen=True)
class Equipped:
    """A server with toolkits `echo` (MCP) and `api` (raw requests)."""

    server: Server
    host: ApiHost


@pytest.fixture(scope="module")
def equipped() -> Iterator[Equipped]:
    """A server with toolkits, for the tests of one file."""
    host = ApiHost()
    with ExitStack() as stack:
        stack.enter_context(in_thread(host))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True))
        server = running_server(
            Path(folder),
            api_keys=f"{KEY},{OTHER_KEY}",
            mcp_servers=json.dumps({"echo": {"command": ECHO, "env": {"PYTHONPATH": str(ROOT)}}}),
            proxy_hosts=json.dumps({"api": {"base_url": host.base_url, "credential": CREDENTIAL}}),
        )
        yield Equipped(stack.enter_context(server), host)


@pytest.fixture
def equipped_client(equipped: Equipped) -> Iterator[httpx.Client]:
    """A client of that server."""
    with equipped.server.client() as connected:
        yield connected


def make(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """Make a session; its answer."""
    response = client.post(SESSIONS, json={"user_id": "user_1", **body})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def path(session: dict[str, Any], rest: str = "") -> str:
    """The path of a session."""
    return f"{SESSIONS}/{session['session_id']}{rest}"


def execute(client: httpx.Client, session: dict[str, Any], slug: str, arguments: dict[str, Any], **more: Any) -> Any:
    """Run a tool in a session; the whole answer."""
    body = {"tool_slug": slug, "arguments": arguments, **more}
    response = client.post(path(session, "/execute"), json=body)
    assert response.status_code == 200, response.text
    return response.json()


def refused(response: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Check that an answer is an error with its envelope; the inside of that."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "code", "slug", "status", "request_id"} <= set(error)
    assert (error["status"], type(error["code"])) == (status, int)
    for word in words:
        assert word in error["message"], error
    return error
