"""The commands that show, prove and measure, run whole."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.conftest import Workbench, containers_of

pytestmark = pytest.mark.timeout(300)


def test_the_demo_runs_every_step_of_a_session(workbench: Workbench) -> None:
    answer = workbench("demo")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "8 of 8 steps as they must be" in answer.stdout
    assert workbench.key not in answer.stdout + answer.stderr


def test_the_demo_starts_a_controller_where_none_answers_and_leaves_nothing_when_it_is_stopped(
    unstarted: Workbench, runtime_name: str, request: pytest.FixtureRequest
) -> None:
    answer = unstarted("demo")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "started just now" in answer.stdout
    pid = unstarted.state.running_pid()
    assert f"(pid {pid})" in unstarted("demo", "--stop").stdout
    assert unstarted.state.running_pid() is None
    assert "no controller of a demo is running" in unstarted("demo", "--stop").stdout
    if runtime_name == "docker":
        installation = unstarted.environment["WORKBENCH_INSTALLATION"]
        assert containers_of(request.getfixturevalue("docker_engine"), installation) == []


def test_a_demo_whose_controller_does_not_start_shows_the_end_of_its_log(unstarted: Workbench) -> None:
    broken = unstarted.environment | {"WORKBENCH_DATABASE_URL": "sqlite:////dev/null/workbench.db"}
    answer = Workbench(broken, unstarted.state, unstarted.url, unstarted.key)("demo")
    assert answer.returncode == 1
    assert "controller.log" in answer.stderr
    assert "  | " in answer.stderr


def test_the_doctor_finds_nothing_wrong_with_this_machine(unstarted: Workbench) -> None:
    answer = unstarted("doctor", "--quick")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "a sandbox starts" in answer.stdout


@pytest.mark.parametrize("runtime_name", [pytest.param("docker", marks=pytest.mark.docker)], indirect=True)
def test_the_doctor_says_what_to_do_without_an_image_or_an_engine(unstarted: Workbench, tmp_path: Path) -> None:
    for variable, value, remedy in (
        ("WORKBENCH_IMAGE", "workbench-no-such-image:0", "workbench image build"),
        ("WORKBENCH_DOCKER_HOST", f"unix://{tmp_path}/none.sock", "start it"),
    ):
        environment = unstarted.environment | {variable: value}
        answer = Workbench(environment, unstarted.state, unstarted.url, unstarted.key)("doctor")
        assert answer.returncode == 1
        assert remedy in answer.stdout


@pytest.mark.parametrize("runtime_name", ["process"], indirect=True)
def test_the_doctor_says_what_to_do_where_another_server_answers_for_the_engine(unstarted: Workbench) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{other.server_port}"
        environment = unstarted.environment | {"WORKBENCH_RUNTIME": "docker", "WORKBENCH_DOCKER_HOST": address}
        answer = Workbench(environment, unstarted.state, unstarted.url, unstarted.key)("doctor", "--quick")
        other.shutdown()
    failed, fix, _ = answer.stdout.splitlines()[-3:]
    assert failed.startswith("failed  engine: ")
    assert "docker_host" in fix


@pytest.mark.parametrize("runtime_name", ["process"], indirect=True)
def test_the_doctor_says_what_it_finds_in_lines_of_its_own_only(unstarted: Workbench) -> None:
    servers = json.dumps({"gone": {"command": ["sh", "-c", "exit 2"]}})
    environment = unstarted.environment | {"WORKBENCH_MCP_SERVERS": servers}
    answer = Workbench(environment, unstarted.state, unstarted.url, unstarted.key)("doctor", "--quick")
    *lines, summary = (answer.stdout + answer.stderr).splitlines()
    assert [line for line in lines if not line.startswith(("ok  ", "failed  ", "known  ", "        -> "))] == []
    assert "1 failed" in summary


@pytest.mark.parametrize("runtime_name", [pytest.param("docker", marks=pytest.mark.docker)], indirect=True)
def test_a_bench_without_an_image_or_an_engine_says_so_and_does_not_wait(unstarted: Workbench, tmp_path: Path) -> None:
    for variable, value, remedy in (
        ("WORKBENCH_IMAGE", "workbench-no-such-image:0", "workbench image build"),
        ("WORKBENCH_DOCKER_HOST", f"unix://{tmp_path}/none.sock", "Start it"),
    ):
        environment = unstarted.environment | {variable: value}
        answer = Workbench(environment, unstarted.state, unstarted.url, unstarted.key)("bench", "--quick")
        assert answer.returncode == 1
        assert answer.stderr.startswith("error: ")
        assert remedy in answer.stderr


def test_the_bench_measures_and_leaves_nothing_behind(unstarted: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    answer = unstarted("bench", "--quick", "--rounds", "1", "--json", str(file))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    names = {row["what"] for row in json.loads(file.read_text())["rows"]}
    assert {"print(1), live session", "true, bash tool", "new session, first answer, empty pool"} <= names
    assert "raw round trip" in answer.stdout
