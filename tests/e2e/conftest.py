"""A real controller of the command line's own, one for each runtime, and the command to use it with."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import background
from sandbox.client import Client
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.runtimes.docker_spec import LABEL_INSTALLATION
from tests.support import prepared

DEADLINE_S = 120

HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sandbox.cli import main
main()
"""
"""The command, also where the tests themselves run with SIGINT ignored, which children inherit."""


@dataclass(frozen=True)
class Workbench:
    """The `workbench` command with its environment."""

    environment: dict[str, str]
    state: background.State
    url: str
    key: str

    def __call__(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        return prepared.run(
            "from sandbox.cli import main; main()",
            *arguments,
            stdin=stdin or "",
            timeout_s=DEADLINE_S,
            cwd=Path.cwd(),
            env=self.environment,
        )

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", HEARS_CTRL_C, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def client(self) -> Client:
        return Client(self.url, self.key)


def _make(runtime: str, folder: Path, image: str | None) -> Workbench:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = secrets.token_urlsafe(24)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    environment |= {
        "WORKBENCH_PORT": str(port),
        "WORKBENCH_DATA_DIR": str(folder),
        "WORKBENCH_API_KEYS": key,
        "WORKBENCH_INSTALLATION": f"test{secrets.token_hex(4)}",
        "WORKBENCH_RUNTIME": runtime,
        "WORKBENCH_UNSAFE": "true" if runtime == "process" else "false",
        "WORKBENCH_POOL_SIZE": "1",
        "WORKBENCH_MAX_MEMORY_BYTES": str(1 << 40),  # many sessions of many tests: they use a fraction of their limits
    }
    if image is not None:
        environment["WORKBENCH_IMAGE"] = image
    return Workbench(environment, background.State(folder), f"http://127.0.0.1:{port}", key)


@pytest.fixture(scope="session", params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def runtime_name(request: pytest.FixtureRequest) -> str:
    """Each runtime in turn."""
    return str(request.param)


@contextmanager
def _made(request: pytest.FixtureRequest, runtime: str, folder: Path) -> Iterator[Workbench]:
    image = request.getfixturevalue("sandbox_image") if runtime == "docker" else None
    made = _make(runtime, folder, image)
    yield made
    background.stop(made.state)
    if image is not None:
        _remove(request.getfixturevalue("docker_engine"), made.environment["WORKBENCH_INSTALLATION"])


@pytest.fixture
def unstarted(request: pytest.FixtureRequest, runtime_name: str, tmp_path: Path) -> Iterator[Workbench]:
    """A command whose controller does not run; what is left of it is ended and removed."""
    with _made(request, runtime_name, tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="session")
def workbench(
    request: pytest.FixtureRequest, runtime_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workbench]:
    """A command whose controller is ready, shared by many tests."""
    with _made(request, runtime_name, tmp_path_factory.mktemp("data")) as made:
        child = background.start(made.state, [], made.environment)
        with made.client() as client:
            background.wait_until_ready(made.state, client)
        yield made
        background.stop(made.state)
        child.wait(DEADLINE_S)


def containers_of(engine: EngineAddress, installation: str) -> list[str]:
    """The ids of an installation's containers."""
    with make_client(engine, timeout_s=60) as client:
        found = client.containers(all=True, filters={"label": [f"{LABEL_INSTALLATION}={installation}"]})
        return [entry["Id"] for entry in found]


def _remove(engine: EngineAddress, installation: str) -> None:
    with make_client(engine, timeout_s=60) as client:
        for container in containers_of(engine, installation):
            client.remove_container(container, force=True, v=True)
