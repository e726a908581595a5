"""A real server with the process runtime, and the official SDK's client for it, of either generation."""

import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.api.conftest import KEY, PLAIN, Server, client, data_dir, server

__all__ = ["client", "data_dir", "server"]

OLD, NEW = "legacy", "auto"
"""The handshake with a connection, and (as the server can it) requests that each stand for themselves."""


@asynccontextmanager
async def connected(
    server: Server, path: str, *, mode: str = OLD, headers: dict[str, str] | None = None
) -> AsyncIterator[Client]:
    """Connect the SDK's client to a path of a server."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx2.AsyncClient(headers=headers or {"x-api-key": KEY}, timeout=60, **PLAIN)
        )
        transport = streamable_http_client(server.url + path, http_client=http)
        yield await stack.enter_async_context(Client(transport, mode=mode, raise_exceptions=True))


@pytest.fixture(params=[OLD, NEW])
def mode(request: pytest.FixtureRequest) -> str:
    """Each generation of the protocol in turn."""
    return str(request.param)


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """The address of a session that no other test uses."""
    return f"/tool_router/{re.sub('[^A-Za-z0-9_]+', '-', request.node.name)}/mcp"
