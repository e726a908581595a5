"""What MCP needs is there from the first request on, and not before."""

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.api.conftest import KEY, Server, running_server
from tests.mcp.raw import ACCEPT, initialize, messages_of

CLIENTS = 6


def test_a_controller_that_nobody_asks_by_mcp_does_not_load_it() -> None:
    code = "import sys, sandbox.app; print([name for name in sys.modules if name.partition('.')[0].startswith('mcp')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_first_requests_that_come_together_are_all_answered_and_one_that_leaves_disturbs_none(data_dir: Path) -> None:
    with running_server(data_dir, api_keys=KEY, pool_size="0") as server, ThreadPoolExecutor(CLIENTS + 1) as threads:
        leaving = threads.submit(leave, server)
        answers = list(threads.map(lambda number: connect(server, number), range(CLIENTS)))
        leaving.result()
    assert answers == ["workbench"] * CLIENTS


def connect(server: Server, number: int) -> str:
    """Open a connection; the name of the server."""
    with server.client() as client:
        (answer,) = messages_of(client.post(f"/tool_router/door-{number}/mcp", json=initialize(), headers=ACCEPT))
    return str(answer["result"]["serverInfo"]["name"])


def leave(server: Server) -> None:
    """Send the same request and go before it can be answered."""
    with server.client() as client, contextlib.suppress(httpx.ReadTimeout):
        client.post("/tool_router/left/mcp", json=initialize(), headers=ACCEPT, timeout=httpx.Timeout(60, read=0.001))
