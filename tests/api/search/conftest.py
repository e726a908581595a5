"""Servers with real MCP servers as the toolkits, and what is needed to ask them for tools."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import KEY, OTHER_KEY, ROOT, Server, running_server
from tests.support import composio_backend, model_server
from tests.support.faulty_server import in_thread

SEARCH = "COMPOSIO_SEARCH_TOOLS"
SCHEMAS = "COMPOSIO_GET_TOOL_SCHEMAS"
CONNECTIONS = "COMPOSIO_MANAGE_CONNECTIONS"
WAIT = "COMPOSIO_WAIT_FOR_CONNECTIONS"
PLAN = "COMPOSIO_CREATE_PLAN"
ECHO = {"command": [sys.executable, "-m", "tests.support.mcp_echo", "stdio"], "env": {"PYTHONPATH": str(ROOT)}}
SERVERS = {
    "echo": ECHO,
    "time": {"command": [sys.executable, "-m", "mcp_server_time"]},
    "git": {"command": [sys.executable, "-m", "mcp_server_git"]},
    "gone": {"command": [sys.executable, "-c", "import sys; sys.exit('it broke')"]},
}
HOSTS = {"github": {"base_url": "https://api.github.com", "credential": "Bearer nobody-may-see-me"}}


@pytest.fixture(scope="package")
def local() -> Iterator[Server]:
    """A server with toolkits of its own, of which one is down, and neither backend nor model."""
    settings = {"mcp_servers": json.dumps(SERVERS), "proxy_hosts": json.dumps(HOSTS)}
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=f"{KEY},{OTHER_KEY}", **settings) as running,
    ):
        connected(running, "echo", "time", "git")
        yield running


@pytest.fixture(scope="package")
def backend() -> Iterator[composio_backend.ComposioBackend]:
    backend = composio_backend.ComposioBackend()
    with in_thread(backend):
        yield backend


@pytest.fixture(scope="package")
def model() -> Iterator[model_server.ModelServer]:
    model = model_server.ModelServer()
    with in_thread(model):
        yield model


@pytest.fixture(scope="package")
def joined(backend: composio_backend.ComposioBackend, model: model_server.ModelServer) -> Iterator[Server]:
    """A server with one toolkit of its own, a backend and a model."""
    settings = {
        "mcp_servers": json.dumps({"echo": ECHO}),
        "composio_api_key": composio_backend.KEY,
        "composio_base_url": backend.url,
        "model_base_url": model.base_url,
        "model_api_key": model_server.KEY,
        "model_name": model_server.MODEL,
        "helper_retries": "0",
    }
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=KEY, **settings) as running,
    ):
        connected(running, "echo")
        yield running


@pytest.fixture
def tools(backend: composio_backend.ComposioBackend) -> Iterator[dict[str, composio_backend.Tool]]:
    """The backend's tools, as they were before the test when it ends."""
    before = dict(backend.tools)
    yield backend.tools
    backend.tools = before


def connected(server: Server, *toolkits: str) -> None:
    """Wait until toolkits are there: each call waits for those that still start."""
    for _ in range(10):
        if data(server, CONNECTIONS, toolkits=list(toolkits))["summary"]["active_connections"] == len(toolkits):
            return
    pytest.fail(server.log.read_text())


def data(server: Server, slug: str, **arguments: Any) -> dict[str, Any]:
    answer = server.tool(slug, arguments)
    assert answer["successful"] is True, answer
    found: dict[str, Any] = answer["data"]
    return found


def search(server: Server, *use_cases: str, **arguments: Any) -> dict[str, Any]:
    return data(server, SEARCH, queries=[{"use_case": case} for case in use_cases], **arguments)


def named(found: dict[str, Any]) -> set[str]:
    """All slugs of tools that an answer names."""
    slugs = set(found["tool_schemas"])
    for result in found["results"]:
        slugs |= {*result["primary_tool_slugs"], *result["related_tool_slugs"]}
    return slugs


def session_with(server: Server, **config: Any) -> str:
    with server.client() as client:
        response = client.post("/v1/sessions", json={"config": config})
    assert response.status_code == 201, response.text
    made: str = response.json()["session_id"]
    return made


def refused(server: Server, slug: str, arguments: dict[str, Any]) -> httpx.Response:
    with server.client() as client:
        return client.post(f"/api/v3/tools/execute/{slug}", json={"arguments": arguments})
