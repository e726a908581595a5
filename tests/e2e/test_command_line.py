"""The command line against a real controller and real sandboxes, over both runtimes."""

import json
import signal
from pathlib import Path

import pytest

from sandbox import background
from sandbox.client import Client
from tests.e2e.conftest import DEADLINE_S, Workbench


def test_run_prints_what_the_code_prints_and_keeps_variables(workbench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("import sys\nx = 41\nprint('out')\nprint('err', file=sys.stderr)\n")
    first = workbench("run", str(file), "-s", "keeps")
    assert (first.returncode, first.stdout, first.stderr) == (0, "out\n", "err\n")
    second = workbench("run", "-", "-s", "keeps", stdin="x + 1")
    assert (second.returncode, second.stdout.strip()) == (0, "42")


def test_run_shows_output_while_the_code_still_runs(workbench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    running = workbench.begin("run", str(file), "-s", "streams")
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    assert workbench("bash", "touch go", "-s", "streams").returncode == 0
    assert running.wait(DEADLINE_S) == 0
    running.communicate()


def test_code_that_raises_gives_its_traceback_and_exit_code_1(workbench: Workbench) -> None:
    answer = workbench("run", "-", "-s", "raises", stdin="print('before')\n1 / 0")
    assert (answer.returncode, answer.stdout) == (1, "before\n")
    assert "Traceback" in answer.stderr
    assert "ZeroDivisionError: division by zero" in answer.stderr


def test_bash_gives_the_exit_code_of_its_command(workbench: Workbench) -> None:
    answer = workbench("bash", "echo out; echo err >&2; exit 7", "-s", "codes")
    assert (answer.returncode, answer.stdout, answer.stderr) == (7, "out\n", "err\n")


def test_a_command_over_its_time_ends_with_the_code_of_timeout(workbench: Workbench) -> None:
    answer = workbench("bash", "sleep 600", "-s", "codes", "--timeout", "1")
    assert answer.returncode == 124
    assert "Timed out after 1 s" in answer.stderr


def test_an_image_is_listed_with_its_file(workbench: Workbench) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    answer = workbench("run", "-", "-s", "plots", stdin=code)
    assert answer.returncode == 0
    assert "artifact: " in answer.stderr
    assert "image/png" in answer.stderr


def test_ctrl_c_interrupts_the_code_and_keeps_its_variables(workbench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("import time\ny = 7\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)\n")
    running = workbench.begin("run", str(file), "-s", "stops")
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 1
    assert "interrupting" in said
    assert "Interrupted on request" in said
    assert workbench("run", "-", "-s", "stops", stdin="print(y)").stdout == "7\n"


def test_sessions_are_listed_shown_restarted_and_removed(workbench: Workbench) -> None:
    workbench("run", "-", "-s", "mine", stdin="z = 1")
    assert "mine" in workbench("sessions").stdout
    assert json.loads(workbench("sessions", "show", "mine").stdout)["label"] == "mine"
    assert "nothing was running" in workbench("sessions", "interrupt", "mine").stdout
    assert workbench("sessions", "restart", "mine").returncode == 0
    assert "NameError" in workbench("run", "-", "-s", "mine", stdin="z").stderr
    assert workbench("sessions", "rm", "mine").returncode == 0
    gone = workbench("sessions", "show", "mine")
    assert gone.returncode == 1
    assert "mine" in gone.stderr


@pytest.mark.parametrize("label", ["team/report of mai?", ".."])
def test_any_label_can_be_used_from_the_command_line(workbench: Workbench, label: str) -> None:
    assert workbench("run", "-", "-s", label, stdin="kept = 5").returncode == 0
    assert workbench("run", "-", "-s", label, stdin="print(kept)").stdout == "5\n"
    with workbench.client() as client:
        assert client.run_code("kept", session=label, timeout_s=60).text("results") == "5"
    assert json.loads(workbench("sessions", "show", label).stdout)["label"] == label
    assert workbench("sessions", "rm", label).returncode == 0
    assert "no session" in workbench("sessions", "rm", label).stderr


def test_a_label_without_a_session_is_answered_with_where_the_labels_are(workbench: Workbench) -> None:
    answer = workbench("sessions", "show", "nobody-made-this")
    assert answer.returncode == 1
    assert "`workbench sessions`" in answer.stderr
    assert "session_id" not in answer.stderr


def test_a_session_without_files_is_said_to_have_none(workbench: Workbench) -> None:
    workbench("bash", "true", "-s", "bare")
    assert workbench("sessions", "files", "bare", "in/").stdout == "no files under /mnt/files/in/\n"


@pytest.mark.parametrize("runtime_name", [pytest.param("docker", marks=pytest.mark.docker)], indirect=True)
def test_what_could_not_run_says_why_and_what_to_do(unstarted: Workbench) -> None:
    environment = unstarted.environment | {"WORKBENCH_IMAGE": "workbench-no-such-image:0"}
    child = background.start(unstarted.state, [], environment)
    with unstarted.client() as client:
        while not client.alive():
            assert child.poll() is None
    answer = unstarted("bash", "true")
    assert answer.returncode == 125
    assert "workbench image build" in answer.stderr
    assert "fix='build it with `workbench image build`'" in unstarted.state.log_file.read_text()
    background.stop(unstarted.state)
    child.wait(DEADLINE_S)


def test_a_live_stream_resumes_after_the_event_that_was_seen(workbench: Workbench) -> None:
    with workbench.client() as client:
        execution = client.start("resumes", {"code": "print('a')"}, timeout_s=60)
        whole = list(client.follow(execution))
        assert whole[-1].name == "ended"
        assert [event.id for event in whole] == list(range(1, len(whole) + 1))
        assert list(client.follow(execution, after=1)) == whole[1:]


def test_a_wrong_key_is_refused_in_words(workbench: Workbench) -> None:
    command = Workbench(
        {**workbench.environment, "WORKBENCH_API_KEY": "another-key"}, workbench.state, workbench.url, "another-key"
    )
    answer = command("bash", "true")
    assert answer.returncode == 1
    assert "key" in answer.stderr


def test_a_controller_that_answers_is_alive_and_ready(workbench: Workbench) -> None:
    with Client(workbench.url, "") as client:
        assert client.alive()
        assert client.ready()


def test_when_the_reader_of_the_output_leaves_the_code_is_interrupted(workbench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("import time\nwhile True: print('more', flush=True); time.sleep(0.01)\n")
    with workbench.begin("run", str(file), "-s", "leaves") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "more\n"
        running.stdout.close()
        assert running.wait(DEADLINE_S) == 1
    # Code of one session runs in turn: this answer would not come while the loop goes on.
    assert workbench("run", "-", "-s", "leaves", stdin="print('next')").stdout == "next\n"
