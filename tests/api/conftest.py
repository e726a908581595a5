"""A real server on a loopback port, with the process runtime, in a process of its own."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Final, TextIO

import httpx
import pytest

from tests.support import prepared

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "key-of-the-first-client"
OTHER_KEY: Final = "key-of-another-client"
WORKBENCH: Final = "COMPOSIO_REMOTE_WORKBENCH"
BASH: Final = "COMPOSIO_REMOTE_BASH_TOOL"
START_S: Final = 60.0

PROGRAM: Final = "from sandbox.config import load_settings; from sandbox.app import serve; serve(load_settings())"

PLAIN: Final[dict[str, Any]] = {"trust_env": False, "verify": False}
"""Of clients that speak no TLS: to read all certificates of the machine would take most of the time of a request."""

_LISTENS: Final = "listens on "


@dataclass(frozen=True)
class Server:
    """A running server: where it is, and what it said when it started."""

    url: str
    said: list[str]
    data_dir: Path
    log: Path
    process: prepared.Prepared

    def client(self, key: str | None = KEY, **options: Any) -> httpx.Client:
        """Make a client with a key."""
        headers = {"x-api-key": key} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **PLAIN, **options)

    def run(self, code: str, *, session: str, key: str = KEY, **arguments: Any) -> dict[str, Any]:
        """Run Python by the workbench tool; the whole answer."""
        return self.tool(WORKBENCH, {"code_to_execute": code, "session_id": session, **arguments}, key=key)

    def bash(self, command: str, *, session: str, key: str = KEY, **arguments: Any) -> dict[str, Any]:
        """Run a command by the bash tool; the whole answer."""
        return self.tool(BASH, {"command": command, "session_id": session, **arguments}, key=key)

    def tool(self, slug: str, arguments: dict[str, Any], *, key: str = KEY) -> dict[str, Any]:
        """Call a tool; its answer, which has to be one."""
        with self.client(key) as client:
            response = client.post(f"/api/v3/tools/execute/{slug}", json={"arguments": arguments})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


@contextmanager
def running_server(data_dir: Path, *, program: str = PROGRAM, **settings: str) -> Iterator[Server]:
    """Start a server, wait until it listens, and end it gently."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WORKBENCH_RUNTIME": "process",
        "WORKBENCH_UNSAFE": "true",
        "WORKBENCH_PORT": "0",
        "WORKBENCH_POOL_SIZE": "1",
        "WORKBENCH_MAX_MEMORY_BYTES": str(1 << 40),  # many sessions of many tests: they use a fraction of their limits
        "WORKBENCH_DATA_DIR": str(data_dir),
        **{f"WORKBENCH_{name.upper()}": value for name, value in settings.items()},
    }
    log = data_dir / "server.log"
    output, told = os.pipe()
    with log.open("w") as errors, os.fdopen(told, "w") as saying:
        process = prepared.start(program, cwd=data_dir, env=environment, stdout=saying.fileno(), stderr=errors.fileno())
    lines: Queue[str] = Queue()
    reader = Thread(target=_read_lines, args=(os.fdopen(output), lines), daemon=True)
    reader.start()
    try:
        said = _wait_until_it_listens(lines, log)
        url = next(line for line in said if _LISTENS in line).split(_LISTENS)[1].split()[0]
        yield Server(url, said, data_dir, log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
            reader.join(timeout=10)


def _read_lines(output: TextIO, lines: "Queue[str]") -> None:
    with output:
        for line in output:
            lines.put(line.rstrip("\n"))
    lines.put("")


def _wait_until_it_listens(lines: "Queue[str]", log: Path) -> list[str]:
    """The lines of the start; the one about the runtime is the last."""
    said: list[str] = []
    while not said or "untime" not in said[-1]:
        try:
            line = lines.get(timeout=START_S)
        except Empty:
            pytest.fail(f"the server said nothing for {START_S} s:\n{log.read_text()}")
        if not line:
            pytest.fail(f"the server ended at its start: {said}\n{log.read_text()}")
        said.append(line)
    return said


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder for one server's data."""
    with tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for the tests of one file, with two API keys."""
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=f"{KEY},{OTHER_KEY}") as running,
    ):
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client with the first key."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def session(request: pytest.FixtureRequest) -> str:
    """A session label that no other test uses."""
    return f"of {request.node.name}"
