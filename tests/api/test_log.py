"""The log of a real server: what finds a request again, and nothing of what clients send or code says."""

import json
import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.runtimes.docker_address import EngineAddress
from tests.api.conftest import BASH, KEY, WORKBENCH, running_server
from tests.support.images import image_running

SECRET_KEY = "key-MARKER-of-the-client"
LOOP = "print('OUTPUT' + '-MARKER', flush=True)\nwhile True: 'CODE-MARKER'"

BREAKS_ON_REQUEST = """
from sandbox import app
from sandbox.config import load_settings

async def defect(words: str):
    try:
        raise KeyError(words)
    except KeyError as error:
        raise ValueError(f"cannot take {words}") from error

def breakable(workbench, **options):
    made = create_app(workbench, **options)
    made.add_api_route("/defect", defect)
    return made

create_app, app.create_app = app.create_app, breakable
app.serve(load_settings())
"""
"""A server with one more route, which has a defect and puts what it got into its exception."""


def entries(log: Path) -> list[dict[str, Any]]:
    """The lines of a log in JSON."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_log_never_has_code_output_labels_or_keys(data_dir: Path, level: str) -> None:
    with running_server(data_dir, program=BREAKS_ON_REQUEST, api_keys=SECRET_KEY, log_level=level) as server:
        with server.client(SECRET_KEY) as client:
            _do_everything(client)
        with server.client("UNKNOWN-MARKER") as stranger:
            assert stranger.get("/v1/sessions").status_code == 401
    text = server.log.read_text()
    for event in ("execution ended", "sandbox given", "a defect ended a request", "KeyError", "timed_out"):
        assert event in text
    assert "MARKER" not in text


def _do_everything(client: httpx.Client) -> None:
    """Executions and requests of every kind and ending, with a marker in all that is sent or said."""
    label = "LABEL-MARKER"

    def run(slug: str, **arguments: Any) -> dict[str, Any]:
        body = {"arguments": {"session_id": label, **arguments}, "user_id": "USER-MARKER"}
        answer: dict[str, Any] = client.post(f"/api/v3/tools/execute/{slug}", json=body).json()
        return answer

    assert "MARKER" in run(WORKBENCH, code_to_execute="print('OUT' + 'PUT-MARKER')")["data"]["stdout"]
    assert "MARKER" in run(BASH, command="echo MARKER; echo MARKER >&2; exit 3")["data"]["stdout"]
    assert "MARKER" in run(WORKBENCH, code_to_execute="raise ValueError('MARKER')")["error"]
    assert "stdout_file_path" in run(WORKBENCH, code_to_execute="print('MARKER' * 10_000)")["data"]
    assert run(WORKBENCH, code_to_execute=LOOP, timeout=1)["data"]["execution"]["ending"] == "timed_out"
    assert run(BASH, command="echo MARKER; sleep 100", timeout=1)["data"]["execution"]["ending"] == "timed_out"
    died = run(WORKBENCH, code_to_execute="import os; os.write(2, b'MARKER'); os._exit(3)  # MARKER")
    assert died["data"]["execution"]["ending"] == "kernel_died"
    for wrong in ({"timeout": "MARKER", "code_to_execute": "MARKER"}, {"code_to_execute": ["MARKER"]}):
        assert run(WORKBENCH, **wrong)["error"]["status"] == 422
    assert run("NO_SUCH_TOOL_MARKER")["error"]["status"] == 404
    assert client.post(f"/api/v3/tools/execute/{BASH}", content=b'{"MARKER').status_code == 400
    assert client.get("/v1/sessions/no-such-MARKER", headers={"x-request-id": "bad MARKER"}).status_code == 404
    assert client.get("/defect", params={"words": "MARKER"}).status_code == 500
    assert client.delete(f"/v1/sessions/{label}").status_code == 200


def test_all_lines_of_an_execution_have_its_ids_and_its_request(data_dir: Path) -> None:
    with (
        running_server(data_dir, api_keys=KEY, log_format="json", pool_size="0") as server,
        server.client() as client,
    ):
        body = {"arguments": {"code_to_execute": "1", "session_id": "one"}}
        path = f"/api/v3/tools/execute/{WORKBENCH}"
        data = client.post(path, json=body, headers={"x-request-id": "mine-1"}).json()["data"]
        assert client.delete("/v1/sessions/one", headers={"x-request-id": "mine-2"}).status_code == 200
    # The first of each event: the server's end logs more.
    lines = {line["event"]: line for line in reversed(entries(server.log))}
    ids = {"session": data["session"]["id"], "execution": data["execution"]["id"], "request_id": "mine-1"}
    assert ids.items() <= lines["execution ended"].items()
    assert ids.items() <= lines["request"].items()
    assert lines["execution ended"]["ending"] == "completed"
    assert {"ms", "sandbox_ms", "queue_ms", "run_ms", "pipe_ms"} <= lines["execution ended"].keys()
    assert lines["sandbox given"]["session"] == lines["sandbox removed"]["session"] == ids["session"]
    assert "request_id" not in lines["sandbox given"]
    assert lines["sandbox removed"]["request_id"] == "mine-2"


def test_a_sandbox_that_is_lost_is_not_logged_under_the_request_that_started_it(data_dir: Path) -> None:
    with running_server(data_dir, api_keys=KEY, log_format="json", pool_size="0") as server:
        with server.client() as client:
            body = {"arguments": {"command": "kill -9 $PPID", "session_id": "one"}}
            client.post(f"/api/v3/tools/execute/{BASH}", json=body, headers={"x-request-id": "first"})
        lost = [line for line in entries(server.log) if re.search("gone|lost", line["event"])]
    assert lost
    assert not any("request_id" in line for line in lost)


@pytest.mark.docker
def test_a_failing_start_puts_the_last_words_of_the_agent_into_the_log(
    data_dir: Path, docker_engine: EngineAddress, sandbox_image: str
) -> None:
    words = "i=0; while [ $i -lt 1000 ]; do echo cannot begin >&2; i=$((i+1)); done; echo at last >&2; exit 7"
    settings = {"runtime": "docker", "unsafe": "false", "pool_size": "0", "installation": f"test{secrets.token_hex(4)}"}
    with (
        image_running(docker_engine, sandbox_image, ["bash", "-c", words]) as image,
        running_server(data_dir, api_keys=KEY, log_format="json", image=image, **settings) as server,
        server.client() as client,
    ):
        body = {"arguments": {"command": "true", "session_id": "one"}}
        answer = client.post(f"/api/v3/tools/execute/{BASH}", json=body).json()
    assert answer["error"]["slug"] == "Sandbox_StartFailed"
    line = next(line for line in entries(server.log) if line["event"] == "no sandbox could be had")
    assert line["message"].endswith("cannot begin\nat last")
    assert len(line["message"]) < 3000
