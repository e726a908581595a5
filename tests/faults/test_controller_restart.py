"""The controller is killed, or stopped, while executions run: the next one finds them and goes on."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sandbox.runtimes.docker_address import EngineAddress
from tests.support.controller import Controller, ServerEvent

pytestmark = [pytest.mark.docker, pytest.mark.timeout(150)]

COUNTING = """
import os, time
runs = globals().get('runs', 0) + 1
kept = 41
number = 0
while not os.path.exists('go'):
    print(number, flush=True)
    number += 1
    time.sleep(0.02)
print('went')
"""
"""Prints numbers until a file is there, so there is output before, during and after the absence of a controller."""

COUNTING_IN_BASH = "n=0; while [ ! -e go ]; do echo $n; n=$((n+1)); sleep 0.02; done; echo went"


@pytest.fixture
def controller(tmp_path: Path, docker_engine: EngineAddress, sandbox_image: str) -> Iterator[Controller]:
    made = Controller(tmp_path, docker_engine, sandbox_image)
    yield made
    made.close()


def outputs(events: list[ServerEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "output")


def some_output(events: Iterator[ServerEvent], pieces: int) -> list[ServerEvent]:
    """Read events until there were so many pieces of output."""
    read: list[ServerEvent] = []
    for event in events:
        read.append(event)
        if sum(each.name == "output" for each in read) == pieces:
            return read
    pytest.fail(f"the stream ended: {read}")


def is_whole(stdout: str) -> bool:
    numbers = stdout.splitlines()
    return numbers[-1] == "went" and numbers[:-1] == [str(number) for number in range(len(numbers) - 1)]


@pytest.mark.parametrize("body", [{"code": COUNTING}, {"command": COUNTING_IN_BASH}], ids=["python", "bash"])
def test_an_execution_survives_the_kill_of_its_controller_and_its_stream_resumes_without_gap(
    controller: Controller, body: dict[str, Any]
) -> None:
    controller.start()
    controller.run("x", command="true")
    execution = controller.begin("x", **body)
    with controller.events(execution) as stream:
        before = some_output(stream, 3)
        controller.kill()
    sandboxes = controller.containers()

    controller.start()
    assert controller.containers() == sandboxes
    assert controller.execution(execution)["state"] == "running"
    with controller.events(execution, before[-1].id) as stream:
        after = some_output(stream, 2)
        assert controller.run("x", command="touch go")["data"]["session"]
        after += list(stream)
    events = before + after
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.name for event in (events[0], events[-1])] == ["started", "ended"]
    ended = events[-1].data
    assert ended == controller.execution(execution)
    assert (ended["state"], ended["successful"], ended["data"]["execution"]["ending"]) == ("ended", True, "completed")
    assert ended["data"]["stdout"] == outputs(events)
    assert is_whole(ended["data"]["stdout"])


def test_a_command_line_that_follows_waits_for_the_next_controller_and_shows_all_output(controller: Controller) -> None:
    controller.start()
    environment = {**os.environ, "WORKBENCH_URL": controller.url, "WORKBENCH_API_KEY": controller.key}
    command = [sys.executable, "-m", "sandbox.cli", "bash", COUNTING_IN_BASH, "--session", "x"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        before = following.stdout.readline()
        controller.kill()
        assert following.stderr.readline() == "\n"
        assert "does not answer; waiting up to" in following.stderr.readline()
        controller.start()
        controller.run("x", command="touch go")
        after = following.stdout.read()
    assert following.returncode == 0
    assert is_whole(before + after)


def test_variables_live_on_and_the_code_ran_once(controller: Controller) -> None:
    controller.start()
    execution = controller.begin("x", code=COUNTING)
    with controller.events(execution) as stream:
        some_output(stream, 1)
    controller.kill()
    controller.start()
    controller.run("x", command="touch go")
    answer = controller.run("x", code_to_execute="print(kept + 1, runs)")
    assert answer["data"]["stdout"] == "42 1\n"
    assert "recreated" not in answer["data"]["execution"]
    assert controller.execution(execution)["data"]["execution"]["ending"] == "completed"


@pytest.mark.parametrize("body", [{"code": COUNTING}, {"command": COUNTING_IN_BASH}], ids=["python", "bash"])
def test_an_execution_that_ends_while_no_controller_runs_is_told_to_the_next_one(
    controller: Controller, body: dict[str, Any]
) -> None:
    controller.start()
    execution = controller.begin("x", **body)
    with controller.events(execution) as stream:
        before = some_output(stream, 1)
    controller.kill()
    (container,) = controller.containers()
    controller.inside(container, "touch go; while pgrep -f 'while . ! -e go' | grep -vx $$; do sleep 0.02; done")

    controller.start()
    with controller.events(execution, before[-1].id) as stream:
        events = before + list(stream)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    ended = controller.execution(execution)
    assert ended["data"]["execution"]["ending"] == "completed"
    assert ended["data"]["stdout"] == outputs(events)
    assert is_whole(ended["data"]["stdout"])


def test_an_execution_found_again_can_be_interrupted_and_keeps_its_deadline(controller: Controller) -> None:
    controller.start()
    asked, late = controller.begin("x", code=COUNTING), controller.begin("y", command="sleep 100", timeout=4)
    for execution in (asked, late):
        with controller.events(execution) as stream:
            next(stream)
    controller.kill()
    controller.start()
    with controller.client() as client:
        assert client.post(f"/v1/executions/{asked}/interrupt").status_code == 202
    for execution, ending in ((asked, "interrupted"), (late, "timed_out")):
        with controller.events(execution) as stream:
            last = list(stream)[-1]
        assert last.data["data"]["execution"]["ending"] == ending


def test_no_container_is_left_without_an_owner_and_no_other_installation_is_touched(
    controller: Controller, tmp_path: Path, docker_engine: EngineAddress, sandbox_image: str
) -> None:
    foreign = Controller(tmp_path / "other", docker_engine, sandbox_image)
    try:
        foreign.start()
        foreign.run("theirs", code_to_execute="kept = 1")
        theirs = foreign.containers()
        controller.start(pool_size="2")
        controller.run("x", code_to_execute="kept = 1")
        controller.run("deleted", code_to_execute="kept = 1")
        suffix = controller.run("x", command="true")["data"]["sandbox_id_suffix"]
        controller.kill()

        controller.start()
        with controller.client() as client:
            assert client.delete("/v1/sessions/deleted").status_code in {200, 204}
        answer = controller.run("x", code_to_execute="print(kept)")
        assert (answer["data"]["stdout"], answer["data"]["sandbox_id_suffix"]) == ("1\n", suffix)
        wait_for(lambda: len(controller.containers()) == 1)
        assert foreign.containers() == theirs
        assert foreign.run("theirs", code_to_execute="print(kept)")["data"]["stdout"] == "1\n"
    finally:
        foreign.close()


def wait_for(holds: Any) -> None:
    """Look again and again; the test's own deadline ends it."""
    for _ in itertools.takewhile(lambda _: not holds(), itertools.count()):
        pass


def test_a_controller_that_stops_leaves_its_sessions_and_says_where_the_result_will_be(controller: Controller) -> None:
    controller.start(shutdown_grace_s="0", pool_size="1")
    controller.run("x", command="true")
    execution = ""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(controller.tool, "x", code_to_execute=COUNTING)
        while not execution:
            with controller.client() as client:
                items = client.get("/v1/sessions/x/executions").json()["items"]
            execution = next((item["execution_id"] for item in items if item["state"] == "running"), "")
        with controller.events(execution) as stream:
            before = some_output(stream, 1)
            controller.signal(signal.SIGTERM)
            before += list(stream)
        refused = waiting.result(timeout=30)
        controller.wait()
    assert refused.status_code == 503
    assert refused.headers["x-should-retry"] == "false"
    error = refused.json()["error"]
    assert error["slug"] == "Execution_GoesOn"
    assert execution in error["message"]
    assert f"GET /v1/executions/{execution}" in error["suggested_fix"]
    assert "ended" not in [event.name for event in before]
    assert execution in controller.log()
    assert len(controller.containers()) == 1

    controller.start()
    controller.run("x", command="touch go")
    with controller.events(execution, before[-1].id) as stream:
        events = before + list(stream)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert is_whole(controller.execution(execution)["data"]["stdout"])


def test_a_request_that_ends_within_the_grace_gets_its_answer(controller: Controller) -> None:
    controller.start(shutdown_grace_s="60")
    controller.run("x", command="true")
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(
            controller.run, "x", command="echo begun > begun; while [ ! -e go ]; do sleep 0.02; done"
        )
        controller.run("x", command="while [ ! -e begun ]; do sleep 0.02; done")
        (container,) = controller.containers()
        controller.signal(signal.SIGTERM)
        controller.inside(container, "touch go")
        assert waiting.result(timeout=30)["data"]["execution"]["ending"] == "completed"
        controller.wait()
    assert len(controller.containers()) == 1


def test_a_controller_that_is_told_to_remove_leaves_nothing(controller: Controller) -> None:
    controller.start(on_shutdown="remove", pool_size="1")
    execution = controller.begin("x", code=COUNTING)
    with controller.events(execution) as stream:
        some_output(stream, 1)
    controller.stop()
    assert controller.containers() == set()
