"""Every wait has its bound: starts, hellos, calls, calls to the engine, against counterparts that never answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.runtimes.docker_address import UnixAddress
from tests.support.faulty_engine import Bench, bench, envelope
from tests.support.images import image_running

pytestmark = pytest.mark.docker

OTHER_VERSION = """
import json, sys
for line in sys.stdin:
    if line.strip():
        said = {"t": "synced", "nonce": json.loads(line)["nonce"], "version": 99, "boot": "b"}
        print(json.dumps(said), flush=True)
"""


@contextmanager
def server_of(engine: UnixAddress, base: str, folder: Path, *entrypoint: str) -> Iterator[Bench]:
    """A server whose sandboxes run another program than the agent."""
    with (
        image_running(engine, base, entrypoint) as image,
        bench(engine, image, folder, boot_timeout_s="3") as made,
    ):
        yield made


# --- starts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        pytest.param(("sleep", "600"), ["not ready within 3 s", "no words"], id="never says hello"),
        pytest.param(("sh", "-c", "echo cannot begin >&2; exit 7"), ["cannot begin"], id="exits at once"),
        pytest.param(("sh", "-c", "cat /dev/urandom"), ["not ready within 3 s"], id="speaks garbage"),
        pytest.param(("/usr/bin/env", "python3", "-c", OTHER_VERSION), ["version 99"], id="another pipe version"),
        pytest.param(("/no/such/program",), ["no such file"], id="no agent in it"),
    ],
)
def test_a_bad_image_is_an_error_within_the_start_deadline_and_leaves_nothing(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path, entrypoint: tuple[str, ...], words: list[str]
) -> None:
    with server_of(engine_socket, sandbox_image, short_folder, *entrypoint) as made:
        error = made.refused("x")
        assert error["slug"] == "Sandbox_StartFailed"
        for word in words:
            assert word in error["message"]
        assert made.containers() == []


def test_a_missing_image_is_named_with_the_command_that_builds_it(
    engine_socket: UnixAddress, short_folder: Path
) -> None:
    with bench(engine_socket, "workbench-test:of-nobody", short_folder) as made:
        error = made.refused("x")
        assert error["slug"] == "Runtime_ImageMissing"
        assert "workbench-test:of-nobody" in error["message"]
        assert "workbench image build" in error["suggested_fix"]
        assert made.containers() == []


@pytest.mark.parametrize("request_", ["POST .*/containers/create", "POST .*/attach"])
def test_a_call_of_the_engine_that_never_ends_is_named_at_its_deadline(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path, request_: str
) -> None:
    with bench(engine_socket, sandbox_image, short_folder, engine_timeout_s="4") as made:
        made.proxy.ignore(request_)
        error = made.refused("x")
        assert error["slug"] == "Runtime_EngineUnavailable"
        assert "4 s" in error["message"]
        made.proxy.restore()
        assert made.server.run("1", session="x")["successful"]
        assert len(made.containers()) == 1


# --- calls to a sandbox that is silent --------------------------------------------------------------------------

CALLS: list[Callable[[str], tuple[str, str]]] = [
    lambda label: ("GET", f"/v1/sessions/{label}"),
    lambda label: ("POST", f"/v1/sessions/{label}/restart_kernel"),
]


@pytest.mark.parametrize("call", CALLS, ids=["status", "restart_kernel"])
def test_a_call_to_a_silent_agent_ends_with_the_cause(
    workplace: Bench, label: str, call: Callable[[str], tuple[str, str]]
) -> None:
    suffix = workplace.server.run("1", session=label)["data"]["sandbox_id_suffix"]
    # Paused by the engine it would be resumed.
    workplace.engine.kill(workplace.container_of(suffix), signal="SIGSTOP")
    method, path = call(label)
    with workplace.server.client() as client:
        error = envelope(client.request(method, path))
    assert error["slug"] == "Sandbox_Gone"
    assert "could not be opened again" in error["message"]
    assert workplace.server.run("1", session=label)["data"]["sandbox_id_suffix"] != suffix


def test_long_code_of_a_sandbox_that_answers_is_left_alone(workplace: Bench, label: str) -> None:
    # Longer than the silence after which an agent is asked whether it is there.
    answer = workplace.server.run("import time; time.sleep(3); 'rested'", session=label)
    assert answer["data"]["results"] == "'rested'"


def test_a_sandbox_whose_removal_hangs_is_removed_at_last(workplace: Bench, label: str) -> None:
    suffix = workplace.server.run("1", session=label)["data"]["sandbox_id_suffix"]
    container = workplace.container_of(suffix)
    workplace.proxy.ignore("DELETE .*")
    with workplace.server.client() as client:
        assert client.delete(f"/v1/sessions/{label}").status_code == 200
    assert container in workplace.containers()
    workplace.proxy.restore()
    workplace.wait_removed(container)


def test_readiness_is_answered_while_the_engine_hangs(workplace: Bench) -> None:
    workplace.proxy.stall()
    with workplace.server.client() as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert "engine" in response.json()["checks"]
        assert client.get("/healthz").status_code == 200
