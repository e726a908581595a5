"""Tool calls in bulk: 32 threads of one cell, beside 32 threads that ask the same server with nothing between."""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final

from sandbox.bench.tool_server import SLUG, TOOLKIT
from sandbox.bench.wire import Wire
from sandbox.errors import InternalError

THREADS: Final = 32
MCP_TOOLKIT: Final = f"{TOOLKIT}mcp"
MCP_SLUG: Final = f"{MCP_TOOLKIT}_ECHO".upper()

_READY_S: Final = 30.0
_TIMEOUT_S: Final = 600
_EXECUTE: Final = f"/api/v3.1/tools/execute/{SLUG}"

_CELL: Final = """
import time
from concurrent.futures import ThreadPoolExecutor
def _call(n):
    result, error = run_composio_tool(SLUG, {"n": n})
    return error or ("" if str(n) in str(result["data"]) else f"another answer: {result}")
_began = time.perf_counter()
with ThreadPoolExecutor(THREADS) as _threads:
    _wrong = [error for error in _threads.map(_call, range(CALLS)) if error]
print(CALLS / (time.perf_counter() - _began), len(_wrong), _wrong[:1])
"""


@dataclass(frozen=True, slots=True)
class ToolServer:
    """A tool server in a process of its own."""

    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def ledger(self) -> dict[str, int]:
        """Ask the backend what it ran since it was asked last: `calls`, and how many of them were made `again`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_READY_S)
        connection.request("GET", "/ledger")
        said: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return said

    def raw_calls_s(self, calls: int) -> float:
        """Ask the backend from as many threads without anything between; calls a second."""
        numbers = iter(range(calls))
        lock = threading.Lock()
        begun = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as threads:
            for each in [threads.submit(self._ask_all, numbers, lock) for _ in range(THREADS)]:
                each.result()
        return calls / (time.perf_counter() - begun)

    def _ask_all(self, numbers: Iterator[int], lock: threading.Lock) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_READY_S)
        headers = {"x-api-key": "bench", "content-type": "application/json"}
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            body = json.dumps({"arguments": {"n": number}, "user_id": "default", "version": "latest"})
            connection.request("POST", _EXECUTE, body, headers)
            answer = json.loads(connection.getresponse().read())
            if answer["data"]["n"] != number:
                raise InternalError(f"the bench's tool server gave another answer: {answer}")
        connection.close()


@contextmanager
def tool_server(kind: str) -> Iterator[ToolServer]:
    """Run one while entered. `kind`: `composio` or `mcp`."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)  # clients wait there until the server is up
        port = listening.getsockname()[1]
        descriptor = listening.fileno()
        command = [sys.executable, "-m", "sandbox.bench.tool_server", kind, str(descriptor)]
        child = subprocess.Popen(command, pass_fds=(descriptor,), env=os.environ)
    try:
        yield ToolServer(port)
    finally:
        child.terminate()
        child.wait(_READY_S)


def bulk_settings(backend: ToolServer, mcp: ToolServer) -> dict[str, Any]:
    """Give the settings of a controller that calls these two."""
    return {
        "composio_api_key": secrets.token_hex(8),
        "composio_base_url": backend.url,
        "mcp_servers": json.dumps({MCP_TOOLKIT: {"url": f"{mcp.url}/mcp"}}),
    }


def helper_calls_s(wire: Wire, session: str, slug: str, calls: int) -> float:
    """Make the calls from one cell; calls a second, as the cell has measured them.

    Raises:
        InternalError: one of them failed.
    """
    code = _CELL.replace("SLUG", repr(slug)).replace("THREADS", str(THREADS)).replace("CALLS", str(calls))
    speed, wrong, first = wire.code(session, code, timeout=_TIMEOUT_S)["stdout"].split(maxsplit=2)
    if wrong != "0":
        raise InternalError(f"{wrong} of {calls} tool calls of the bench failed: {first.strip()}")
    return float(speed)
