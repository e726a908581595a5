"""A real server whose engine is behind a proxy, and the hands of somebody who meddles with its containers."""

import json
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import docker
import httpx

from sandbox.client import parse_events
from sandbox.runtimes.docker_address import UnixAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.runtimes.docker_spec import LABEL_INSTALLATION
from tests.api.conftest import KEY, OTHER_KEY, WORKBENCH, Server, running_server
from tests.support.engine_proxy import EngineProxy, engine_proxy

EXECUTE: Final = f"/api/v3/tools/execute/{WORKBENCH}"

UNTIL_GO: Final = """
import os, time
kept = "kept"
print("begun", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
os.remove("go")
print("done")
"""
"""Runs until somebody makes the file `go`."""


@dataclass(frozen=True)
class Bench:
    """`server` talks to the engine through `proxy`; `engine` is a client of the engine itself."""

    server: Server
    proxy: EngineProxy
    engine: docker.APIClient
    installation: str

    def containers(self) -> list[str]:
        """The ids of all containers of this server, whatever their state."""
        label = f"{LABEL_INSTALLATION}={self.installation}"
        return [entry["Id"] for entry in self.engine.containers(all=True, filters={"label": [label]})]

    def container_of(self, suffix: str) -> str:
        """The container of the sandbox whose id ends so."""
        label = f"{LABEL_INSTALLATION}={self.installation}"
        for entry in self.engine.containers(all=True, filters={"label": [label]}):
            if entry["Names"][0].endswith(suffix):
                return str(entry["Id"])
        raise AssertionError(f"no container ends with {suffix}")

    def wait_removed(self, container: str) -> None:
        """Wait until the engine has removed it."""
        with suppress(docker.errors.NotFound):
            self.engine.wait(container, condition="removed", timeout=30)

    def until_resumed(self, container: str) -> None:
        """Wait until it is not paused any more."""
        end = monotonic() + 30
        while self.engine.inspect_container(container)["State"]["Paused"]:
            assert monotonic() < end, f"{container} is still paused"

    def go(self, container: str) -> None:
        """Make the file that ends UNTIL_GO."""
        made = self.engine.exec_create(container, ["touch", "/home/user/go"])
        self.engine.exec_start(made["Id"])

    def begin(self, session: str, code: str = UNTIL_GO, **more: Any) -> str:
        """Start code that prints a line, wait for the line, and give the execution's id."""
        with self.server.client() as client:
            item = client.post(f"/v1/sessions/{session}/executions", json={"code": code, **more}).json()
            path = f"/v1/executions/{item['execution_id']}"
            with client.stream("GET", f"{path}/events") as response:
                for event in parse_events(response.iter_lines()):
                    if event.name == "output":
                        return str(item["execution_id"])
                    assert event.name == "started", event
        raise AssertionError("it ended before it said anything")

    def ended(self, execution_id: str) -> dict[str, Any]:
        """Wait for an execution's end; its item."""
        with self.server.client() as client:
            with client.stream("GET", f"/v1/executions/{execution_id}/events") as response:
                last = list(parse_events(response.iter_lines()))[-1]
            assert last.name == "ended", last
            item: dict[str, Any] = client.get(f"/v1/executions/{execution_id}").json()
            return item

    def refused(self, session: str) -> dict[str, Any]:
        """Run code that cannot be run now; the inside of the error's envelope."""
        with self.server.client() as client:
            arguments = {"code_to_execute": "1", "session_id": session}
            response = client.post(EXECUTE, json={"arguments": arguments})
        return envelope(response)


def envelope(response: httpx.Response, status: int = 503) -> dict[str, Any]:
    """Check an error's envelope; its inside."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["status"] == status
    assert error["message"]
    assert isinstance(error["code"], int)
    assert error["request_id"] == response.headers["x-request-id"]
    if response.request.method == "POST" and "/execut" in response.request.url.path:
        assert response.headers["x-should-retry"] == "false"
    return error


def answer_of(item: dict[str, Any]) -> dict[str, Any]:
    """What an ended execution's item says of its run."""
    assert item["state"] == "ended", json.dumps(item)
    run: dict[str, Any] = item["data"]["execution"]
    return run


def bench(engine: UnixAddress, image: str, folder: Path, **settings: str) -> AbstractContextManager[Bench]:
    """Start a server with short deadlines behind a proxy."""
    return _bench(engine, image, folder, settings, gone=False)


def bench_without_engine(
    engine: UnixAddress, image: str, folder: Path, **settings: str
) -> AbstractContextManager[Bench]:
    """As `bench`, with an engine that is gone until the proxy is restored."""
    return _bench(engine, image, folder, settings, gone=True)


@contextmanager
def _bench(engine: UnixAddress, image: str, folder: Path, settings: dict[str, str], *, gone: bool) -> Iterator[Bench]:
    installation = f"test{secrets.token_hex(4)}"
    defaults = {"pool_size": "0", "engine_timeout_s": "3", "agent_silence_s": "2", "boot_timeout_s": "20"}
    with make_client(engine, timeout_s=60) as client, engine_proxy(engine.path, folder) as proxy:
        if gone:
            proxy.cut()
        try:
            with running_server(
                folder,
                runtime="docker",
                docker_host=proxy.url,
                image=image,
                installation=installation,
                api_keys=f"{KEY},{OTHER_KEY}",
                **{**defaults, **settings},
            ) as server:
                yield Bench(server, proxy, client, installation)
        finally:
            for entry in client.containers(all=True, filters={"label": [f"{LABEL_INSTALLATION}={installation}"]}):
                client.remove_container(entry["Id"], force=True, v=True)
