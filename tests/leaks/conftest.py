"""A real controller over Docker that collects its garbage on request, and what it and the engine hold."""

import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.runtimes.docker_spec import LABEL_INSTALLATION
from tests.api.conftest import KEY, PROGRAM, Server, running_server

POOL: Final = 2
SETTLE_S: Final = 60.0

GROWN_LATE: Final = 8
"""Threads, and their connections, that the pool for engine calls may start after the base line: its bound. What leaks
does so with each of 200 sessions, or with one of the failures, of which there are 20 or more of each kind.
"""

COLLECTS_GARBAGE: Final = f"import gc, signal; signal.signal(signal.SIGUSR1, lambda *_: gc.collect()); {PROGRAM}"


@dataclass(frozen=True)
class Held:
    """What a controller holds, where nothing may stay behind."""

    open_fds: int
    threads: int
    tasks: int
    children: int
    followers: int
    containers: int

    def over(self, base: "Held") -> dict[str, tuple[int, int]]:
        """What is more than at the base line and its allowance: now and then."""
        allowed = {"open_fds": GROWN_LATE, "threads": GROWN_LATE}
        return {
            name: (now, then)
            for name, now in vars(self).items()
            if now > (then := vars(base)[name]) + allowed.get(name, 0)
        }


@dataclass(frozen=True)
class Observed:
    """A running controller and the engine that it uses."""

    server: Server
    engine: docker.APIClient
    installation: str

    def metrics(self) -> dict[str, float]:
        """All metrics without labels, by name."""
        with self.server.client() as client:
            text = client.get("/metrics").text
        families = text_string_to_metric_families(text)
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    def containers(self) -> list[dict[str, Any]]:
        """The containers of this controller."""
        label = f"{LABEL_INSTALLATION}={self.installation}"
        found: list[dict[str, Any]] = self.engine.containers(all=True, filters={"label": [label]})
        return found

    def held(self) -> Held:
        """What it holds now."""
        metrics = self.metrics()
        return Held(
            open_fds=int(metrics["workbench_process_open_fds"]),
            threads=int(metrics["workbench_process_threads"]),
            tasks=int(metrics["workbench_process_tasks"]),
            children=int(metrics["workbench_process_children"]),
            followers=int(metrics["workbench_live_followers"]),
            containers=len(self.containers()),
        )

    def at_rest(self, containers: int) -> Held:
        """What it holds when it has so many containers and two looks at it are the same."""
        held = self._until(lambda held: held.containers == containers and held == self.held())
        assert held.containers == containers
        return held

    def settled(self, base: Held) -> Held:
        """What it holds once that is no more than at the base line, or at the deadline."""
        return self._until(lambda held: not held.over(base))

    def resident_bytes(self) -> int:
        """Memory of the controller after a collection of its garbage."""
        self.server.process.send_signal(signal.SIGUSR1)
        self.metrics()
        return int(self.metrics()["workbench_process_resident_memory_bytes"])

    def _until(self, enough: Callable[[Held], bool]) -> Held:
        deadline = time.monotonic() + SETTLE_S
        while not enough(held := self.held()) and time.monotonic() < deadline:
            pass
        return held


@pytest.fixture(scope="module")
def observed(docker_engine: EngineAddress, sandbox_image: str) -> Iterator[Observed]:
    """A controller over Docker with a small pool; all of its containers are removed at the end."""
    installation = f"test{secrets.token_hex(4)}"
    with (
        make_client(docker_engine, timeout_s=60) as engine,
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
    ):
        settings = {"runtime": "docker", "unsafe": "false", "image": sandbox_image, "pool_size": str(POOL)}
        try:
            with running_server(
                Path(folder), program=COLLECTS_GARBAGE, api_keys=KEY, installation=installation, **settings
            ) as server:
                yield Observed(server, engine, installation)
        finally:
            for entry in engine.containers(all=True, filters={"label": [f"{LABEL_INSTALLATION}={installation}"]}):
                engine.remove_container(entry["Id"], force=True, v=True)
