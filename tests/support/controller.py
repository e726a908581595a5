"""A real `workbench serve` in a process of its own that a test can kill, stop and start again on the same data."""

import json
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from time import monotonic
from typing import Any, Final

import httpx
import pytest

from sandbox.client import Client
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.runtimes.docker_spec import LABEL_INSTALLATION
from tests.api.conftest import PLAIN
from tests.support import prepared

DEADLINE_S: Final = 60.0
POLL_S: Final = 0.02
SERVE: Final = "from sandbox.cli import main; main()"
_TOOLS: Final = {"code_to_execute": "COMPOSIO_REMOTE_WORKBENCH", "command": "COMPOSIO_REMOTE_BASH_TOOL"}


@dataclass(frozen=True)
class ServerEvent:
    """One server-sent event."""

    id: int
    name: str
    data: dict[str, Any]


class Controller:
    """Starts with `start`; `kill` is SIGKILL, `stop` is SIGTERM and waits. `settings` are WORKBENCH_* variables."""

    def __init__(self, folder: Path, engine: EngineAddress, image: str, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.installation = f"test{secrets.token_hex(4)}"
        self.url = f"http://127.0.0.1:{port}"
        self._key = secrets.token_urlsafe(24)
        self._engine = engine
        self._folder = folder
        self._child: prepared.Prepared | None = None
        self._settings = {
            "PORT": str(port),
            "DATA_DIR": str(folder),
            "API_KEYS": self._key,
            "INSTALLATION": self.installation,
            "IMAGE": image,
            "POOL_SIZE": "0",
            "MAX_MEMORY_BYTES": str(1 << 40),  # many sessions of many tests: they use a fraction of their limits
            **{name.upper(): value for name, value in settings.items()},
        }

    def start(self, **settings: str) -> None:
        """Start it and wait until it is ready."""
        given = {**self._settings, **{name.upper(): value for name, value in settings.items()}}
        environment = {f"WORKBENCH_{name}": value for name, value in given.items()}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log_file.open("wb") as log:
            self._child = prepared.start(
                SERVE,
                "serve",
                env={**os.environ, **environment},
                cwd=Path.cwd(),
                stdout=log.fileno(),
                stderr=log.fileno(),
                new_session=True,
            )
        with Client(self.url, self._key) as client:
            self._wait_until_ready(client)

    def _wait_until_ready(self, client: Client) -> None:
        assert self._child is not None
        deadline = monotonic() + DEADLINE_S
        while not client.ready():
            assert monotonic() < deadline, f"the controller was not ready within {DEADLINE_S:g} s:\n{self.log()}"
            with suppress(TimeoutExpired):
                pytest.fail(f"the controller ended with {self._child.wait(POLL_S)} at its start:\n{self.log()}")

    @property
    def _log_file(self) -> Path:
        return self._folder / "controller.log"

    @property
    def key(self) -> str:
        """The API key of its clients."""
        return self._key

    @property
    def engine(self) -> EngineAddress:
        """Where its sandboxes run."""
        return self._engine

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._child is not None
        return self._child.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self) -> None:
        """Wait until it has ended."""
        assert self._child is not None
        self._child.wait(DEADLINE_S)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """End it as an administrator does."""
        self.signal(signal.SIGTERM)
        self.wait()

    def close(self) -> None:
        """End it and remove all of its sandboxes."""
        if self._child is not None and self._child.poll() is None:
            self.kill()
        self.remove_containers()

    def log(self) -> str:
        """Give what it wrote."""
        return self._log_file.read_text(encoding="utf-8")

    # --- its engine -----------------------------------------------------------------------------------

    def containers(self) -> set[str]:
        """Give the ids of its containers."""
        with make_client(self._engine, timeout_s=60) as client:
            found = client.containers(all=True, filters={"label": [f"{LABEL_INSTALLATION}={self.installation}"]})
            return {entry["Id"] for entry in found}

    def remove_containers(self) -> None:
        """Remove all of its containers."""
        with make_client(self._engine, timeout_s=60) as client:
            for container in self.containers():
                client.remove_container(container, force=True, v=True)

    def inside(self, container: str, script: str) -> None:
        """Run a script in a container, past the controller."""
        with make_client(self._engine, timeout_s=60) as client:
            made = client.exec_create(container, ["bash", "-c", script], user="1000", workdir="/home/user")
            client.exec_start(made["Id"])
            assert client.exec_inspect(made["Id"])["ExitCode"] == 0

    # --- its HTTP face --------------------------------------------------------------------------------

    def client(self) -> httpx.Client:
        """Make a client with its key."""
        return httpx.Client(base_url=self.url, headers={"x-api-key": self._key}, timeout=DEADLINE_S, **PLAIN)

    def tool(self, session: str, **arguments: Any) -> httpx.Response:
        """Call the tool for `code_to_execute` or `command`."""
        slug = next(slug for name, slug in _TOOLS.items() if name in arguments)
        with self.client() as client:
            body = {"arguments": {"session_id": session, **arguments}}
            return client.post(f"/api/v3/tools/execute/{slug}", json=body)

    def run(self, session: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; its answer, which has to be one."""
        response = self.tool(session, **arguments)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def begin(self, session: str, **body: Any) -> str:
        """Start an execution (`code` or `command`) and give its id."""
        with self.client() as client:
            response = client.post(f"/v1/sessions/{session}/executions", json=body)
            assert response.status_code == 202, response.text
            return str(response.json()["execution_id"])

    def execution(self, execution_id: str) -> dict[str, Any]:
        """Read an execution."""
        with self.client() as client:
            response = client.get(f"/v1/executions/{execution_id}")
            assert response.status_code == 200, response.text
            found: dict[str, Any] = response.json()
            return found

    @contextmanager
    def events(self, execution_id: str, after: int = 0) -> Iterator[Iterator[ServerEvent]]:
        """Follow an execution after an event."""
        headers = {"last-event-id": str(after)} if after else {}
        with (
            self.client() as client,
            client.stream("GET", f"/v1/executions/{execution_id}/events", headers=headers) as s,
        ):
            assert s.status_code == 200
            yield _events(s.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[ServerEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield ServerEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
