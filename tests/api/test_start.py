"""How the server starts and stops: the key that it makes, what it says, what it refuses."""

import os
import signal
import stat
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import KEY, PROGRAM, ROOT, Server, running_server
from tests.compat.requirements import promises
from tests.support import prepared


def start(data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to refuse."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORKBENCH_DATA_DIR": str(data_dir), **settings}
    return prepared.run(PROGRAM, env=environment, cwd=data_dir, timeout_s=60)


def test_without_configured_keys_one_is_made_said_once_and_kept(data_dir: Path) -> None:
    path = data_dir / "api_key"
    with running_server(data_dir, pool_size="0") as first:
        key = path.read_text().strip()
        assert key.startswith("wb_")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert any(key in line for line in first.said)
        with first.client(key) as client:
            assert client.get("/v1/sessions").status_code == 200
        with first.client("wb_another") as client:
            assert client.get("/v1/sessions").status_code == 401
    with running_server(data_dir, pool_size="0") as second:
        assert path.read_text().strip() == key
        assert not any(key in line for line in second.said)
        assert any(str(path) in line for line in second.said)
        with second.client(key) as client:
            assert client.get("/v1/sessions").status_code == 200
        assert key not in first.log.read_text() + second.log.read_text()


def test_keys_are_not_in_the_database(data_dir: Path) -> None:
    key = "a-key-to-look-for"
    with running_server(data_dir, pool_size="0", api_keys=key) as server, server.client(key) as client:
        assert client.post("/v1/sessions/x/executions", json={"command": "true"}).status_code == 202
    assert all(key.encode() not in file.read_bytes() for file in data_dir.iterdir() if file.is_file())


def test_sessions_outlive_the_server_and_what_was_lost_is_said(data_dir: Path) -> None:
    key = "key-of-the-first-client"
    with running_server(data_dir, api_keys=key) as first:
        before = first.run("kept = 1", session="label")["data"]["session"]["id"]
    with running_server(data_dir, api_keys=key) as second:
        data = second.run("'kept' in globals()", session="label")["data"]
        assert data["session"]["id"] == before
        assert data["results"] == "False"
        assert "new sandbox" in data["session"]["instructions"]
        assert data["execution"]["recreated"]
        assert "recreated" not in second.run("1", session="label")["data"]["execution"]


def begun(server: Server, code: str, thread: ThreadPoolExecutor) -> "Future[dict[str, Any]]":
    """Run code that prints `so far`; comes back when it has."""
    server.run("1", session="stopped")
    answer = thread.submit(server.run, code, session="stopped")
    with server.client(KEY) as client:
        while len(client.get("/v1/sessions/stopped/executions").json()["items"]) == 1:
            pass
        running = client.get("/v1/sessions/stopped/executions").json()["items"][0]["execution_id"]
        with client.stream("GET", f"/v1/executions/{running}/events") as response:
            next(line for line in response.iter_lines() if "so far" in line)
    return answer


def listens(server: Server) -> bool:
    """Whether it takes connections."""
    try:
        with server.client(KEY) as client:
            return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 0)]
)
def test_a_server_that_stops_interrupts_what_runs_and_still_answers(
    data_dir: Path, sent: signal.Signals, code: int
) -> None:
    with running_server(data_dir, api_keys=KEY) as server, ThreadPoolExecutor(1) as thread:
        answer = begun(server, "print('so far')\nwhile True: pass", thread)
        server.process.send_signal(sent)
        assert answer.result(timeout=30)["error"].startswith("Interrupted on request")
        assert server.process.wait(timeout=30) == code
        assert "Traceback" not in server.log.read_text()


def test_a_server_whose_terminal_is_closed_interrupts_what_runs_and_still_answers(data_dir: Path) -> None:
    ours, theirs = os.openpty()
    terminal = os.ttyname(theirs)
    # The first terminal that the leader of a session opens is the one whose end it hears of. It logs there, too.
    takes_it = f"import os; [os.dup2(os.open({terminal!r}, os.O_RDWR), fd) for fd in (0, 2)]; {PROGRAM}"
    with (
        running_server(data_dir, program=f"import os; os.setsid(); {takes_it}", api_keys=KEY) as server,
        ThreadPoolExecutor(1) as thread,
    ):
        os.close(theirs)
        answer = begun(server, "print('so far')\nwhile True: pass", thread)
        os.close(ours)
        assert answer.result(timeout=30)["error"].startswith("Interrupted on request")
        assert server.process.wait(timeout=30) == -signal.SIGHUP


def test_a_server_that_was_started_to_outlive_its_terminal_does(data_dir: Path) -> None:
    program = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {PROGRAM}"
    with running_server(data_dir, program=program, api_keys=KEY, pool_size="0") as server:
        server.process.send_signal(signal.SIGHUP)
        with server.client(KEY) as client:
            assert client.get("/healthz").status_code == 200
        assert server.process.poll() is None


def test_a_second_ctrl_c_ends_a_server_that_waits_and_leaves_nothing_behind(data_dir: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('so far')\nwhile True: pass"
    with running_server(data_dir, api_keys=KEY, pool_size="0") as server, ThreadPoolExecutor(1) as thread:
        answer = begun(server, stubborn, thread)
        agents = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert agents
        server.process.send_signal(signal.SIGINT)
        while listens(server):
            pass  # until the first one was heard
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 0
        assert answer.result(timeout=30)["error"].startswith("The sandbox disappeared while this ran")
        assert [pid for pid in agents if Path(f"/proc/{pid}").exists()] == []
        assert "Traceback" not in server.log.read_text()
    with running_server(data_dir, api_keys=KEY, pool_size="0") as again:
        assert again.run("1", session="stopped")["successful"]


def test_the_process_runtime_says_at_every_start_that_it_isolates_nothing(data_dir: Path) -> None:
    for _ in range(2):
        with running_server(data_dir, pool_size="0") as server:
            assert any(line.startswith("WARNING") and "NOTHING IS ISOLATED" in line for line in server.said)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"WORKBENCH_HOST": "0.0.0.0"}, "no api_keys are configured"),
        ({"WORKBENCH_RUNTIME": "process"}, "isolates nothing"),
        ({"WORKBENCH_DATABASE_URL": "mysql://u:secret-pw@h/d"}, "mysql"),
        ({"WORKBENCH_DATABASE_URL": "postgresql://u:secret-pw@127.0.0.1:1/d", "WORKBENCH_PORT": "0"}, "not available"),
    ],
)
def test_a_bad_start_is_refused_with_words(data_dir: Path, settings: dict[str, str], words: str) -> None:
    refused = start(data_dir, **settings)
    assert refused.returncode != 0
    assert words in refused.stderr
    assert "secret-pw" not in refused.stderr


def test_a_port_that_is_taken_is_named(data_dir: Path) -> None:
    with running_server(data_dir, pool_size="0") as server:
        port = server.url.rsplit(":", 1)[1]
        refused = start(data_dir, WORKBENCH_RUNTIME="process", WORKBENCH_UNSAFE="true", WORKBENCH_PORT=port)
    assert refused.returncode != 0
    assert f"Cannot listen on 127.0.0.1:{port}" in refused.stderr


def test_a_second_server_on_the_same_data_folder_is_refused_and_takes_nothing_from_the_first(data_dir: Path) -> None:
    key = "key-of-the-first-client"
    with running_server(data_dir, api_keys=key) as server:
        server.run("kept = 1", session="s")
        refused = start(data_dir, WORKBENCH_RUNTIME="process", WORKBENCH_UNSAFE="true", WORKBENCH_PORT="0")
        answer = server.run("kept", session="s")
    assert refused.returncode != 0
    assert f"Another controller (process {server.process.pid}) uses the data folder {data_dir}" in refused.stderr
    assert answer["data"]["results"] == "1"


def test_a_server_that_was_killed_leaves_its_data_folder_to_the_next(data_dir: Path) -> None:
    key = "key-of-the-first-client"
    with running_server(data_dir, pool_size="0", api_keys=key) as killed:
        killed.process.kill()
        killed.process.wait(timeout=30)
    with running_server(data_dir, pool_size="0", api_keys=key) as server, server.client(key) as client:
        assert client.get("/v1/sessions").status_code == 200


@promises("CC-0.10", "CC-9.10")
def test_the_published_schema_has_nothing_added_when_asked_for(data_dir: Path) -> None:
    key = "key-of-the-first-client"
    with running_server(data_dir, api_keys=key, strict_schema="true") as server:
        python = server.run("1", session="strict")["data"]
        assert set(python) == {"results", "stdout", "stderr", "error", "sandbox_id_suffix", "session"}
        bash = server.bash("true", session="strict")["data"]
        assert set(bash) == {"stdout", "stdoutLines", "stderr", "stderrLines", "sandbox_id_suffix", "session"}


@promises("CC-2.05", "CC-9.01", "CC-9.02")
def test_time_limits_are_settings(data_dir: Path) -> None:
    key = "key-of-the-first-client"
    limits = {"workbench_timeout_default_s": "1", "bash_timeout_default_s": "1", "bash_timeout_max_s": "2"}
    with running_server(data_dir, api_keys=key, **limits) as server:
        assert "after 1 s" in server.run("while True: pass", session="limits")["error"]
        assert "after 1 s" in server.bash("sleep 100", session="limits")["error"]
        with server.client(key) as client:
            body = {"arguments": {"command": "true", "timeout": 3}}
            response = client.post("/api/v3/tools/execute/COMPOSIO_REMOTE_BASH_TOOL", json=body)
            assert response.status_code == 422
            assert "between 1 and 2 seconds" in response.json()["error"]["message"]
