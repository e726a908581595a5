"""The command line without a controller: help, errors, and the pure parts below it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sandbox.background import State
from sandbox.bench.report import Probe, as_json, compose
from sandbox.bench.samples import p50, p95
from sandbox.cli.demo_steps import STEPS
from sandbox.cli.root import app
from sandbox.client import Client, ControllerUnreachable, ServerEvent, ToolAnswer, parse_events
from sandbox.doctor.engine import engine_findings
from sandbox.doctor.finding import Outcome

HEAVY = ("pydantic", "httpx", "docker", "fastapi", "sqlalchemy", "uvicorn", "jupyter_client", "asyncio")

COMMANDS = (
    "serve",
    "run",
    "bash",
    "sessions",
    "sessions list",
    "sessions show",
    "sessions rm",
    "sessions interrupt",
    "sessions restart",
    "sessions calls",
    "sessions files",
    "image",
    "image build",
    "image list",
    "mcp",
    "doctor",
    "bench",
    "demo",
)


def workbench(*arguments: str, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    return subprocess.run(
        [sys.executable, "-m", "sandbox.cli", *arguments],
        input=stdin,
        errors="surrogateescape",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**environment, **variables},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """Settings under which no controller answers."""
    return {"WORKBENCH_DATA_DIR": str(tmp_path), "WORKBENCH_PORT": str(free_port())}


# --- help ---------------------------------------------------------------------------------------


def walk(command: object, path: tuple[str, ...] = ()) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, each in getattr(command, "commands", {}).items():
        found[" ".join((*path, name))] = each
        found |= walk(each, (*path, name))
    return found


def test_every_command_that_there_is_is_in_the_list_of_this_file() -> None:
    assert sorted(walk(typer.main.get_command(app))) == sorted(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help_with_an_example_of_itself(command: str) -> None:
    answer = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="workbench")
    assert answer.exit_code == 0, answer.output
    _, found, examples = answer.stdout.partition("Example")
    assert found
    assert f"workbench {command}".strip() in examples


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, sandbox.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "[]\n"


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("bash", "true"), ("sessions",), ("sessions", "rm", "x")])
def test_without_a_controller_one_line_says_so_and_one_what_to_do(
    command: tuple[str, ...], nobody: dict[str, str]
) -> None:
    answer = workbench(*command, WORKBENCH_API_KEY="some-key-of-ours", **nobody)
    assert answer.returncode == 1
    assert answer.stdout == ""
    error, fix = answer.stderr.splitlines()
    assert error.startswith(f"error: No controller answers at http://127.0.0.1:{nobody['WORKBENCH_PORT']}")
    assert "workbench serve" in fix
    assert "make demo" in fix


@pytest.mark.parametrize("url", ["foo", "http://", "http://127.0.0.1:abc", "ftp://127.0.0.1"])
def test_what_is_no_url_is_called_so(url: str, nobody: dict[str, str]) -> None:
    answer = workbench("sessions", "list", "--url", url, WORKBENCH_API_KEY="some-key-of-ours", **nobody)
    assert answer.returncode == 1
    error, fix = answer.stderr.splitlines()
    assert error == f"error: {url!r} is no URL of a controller"
    assert "http://127.0.0.1:8380" in fix


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(nobody: dict[str, str]) -> None:
    answer = workbench("sessions", WORKBENCH_API_KEY="schlüssel\nwort", **nobody)
    assert answer.returncode == 1
    assert "WORKBENCH_API_KEY" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "wort" not in answer.stderr


def test_standard_input_that_is_no_text_is_refused(nobody: dict[str, str]) -> None:
    answer = workbench("run", "-", stdin="\udcff", WORKBENCH_API_KEY="some-key-of-ours", **nobody)
    assert answer.returncode == 1
    assert answer.stderr == "error: standard input is not text in UTF-8\n"


@pytest.mark.parametrize("command", ["run", "bash"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "abc"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused_as_usage(
    command: str, seconds: str, nobody: dict[str, str]
) -> None:
    answer = workbench(command, "-", "--timeout", seconds, WORKBENCH_API_KEY="some-key-of-ours", **nobody)
    assert answer.returncode == 2
    assert "Invalid value for '--timeout'" in answer.stderr


class Impatient(Client):
    """A client that hardly waits for its controller."""

    retry_pause_s = 0.01
    reconnect_s = 0.05


def test_who_follows_an_execution_is_told_that_it_waits_and_in_the_end_where_the_result_is() -> None:
    url, said = f"http://127.0.0.1:{free_port()}", list[str]()
    with Impatient(url, "some-key") as client, pytest.raises(ControllerUnreachable) as lost:
        list(client.follow("exe_1", waits=said.append))
    assert [words for words in said if "waiting up to 0.05 s" in words] == said != []
    assert "exe_1" in lost.value.message
    assert f"{url}/v1/executions/exe_1" in str(lost.value.suggested_fix)


def test_without_a_key_it_says_where_it_looked(nobody: dict[str, str]) -> None:
    answer = workbench("bash", "true", **nobody)
    assert answer.returncode == 1
    assert "WORKBENCH_API_KEY" in answer.stderr
    assert f"{nobody['WORKBENCH_DATA_DIR']}/api_key" in answer.stderr


def test_a_file_that_is_not_there_is_named(nobody: dict[str, str]) -> None:
    answer = workbench("run", "/nonexistent/file.py", WORKBENCH_API_KEY="some-key-of-ours", **nobody)
    assert answer.returncode == 1
    assert "/nonexistent/file.py" in answer.stderr


def test_a_bad_setting_is_one_line_and_no_traceback(nobody: dict[str, str]) -> None:
    answer = workbench("serve", **{**nobody, "WORKBENCH_PORT": "many"})
    assert answer.returncode == 1
    assert "port" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_process_runtime_has_to_be_asked_for_twice(nobody: dict[str, str]) -> None:
    answer = workbench("serve", "--runtime", "process", **nobody)
    assert answer.returncode == 1
    assert "--unsafe" in answer.stderr


def test_the_key_is_no_option_of_any_command() -> None:
    for command in walk(typer.main.get_command(app)).values():
        names = {name for parameter in getattr(command, "params", ()) for name in parameter.opts}
        assert not {name for name in names if "key" in name}


# --- server-sent events -------------------------------------------------------------------------


def test_events_are_read_with_number_name_and_data() -> None:
    lines = ["id: 1", "event: output", 'data: {"stream":"stdout","text":"a\\n"}', "", ": keep-alive", ""]
    lines += ["id: 2", "event: ended", "data: {", "data: }", ""]
    assert list(parse_events(iter(lines))) == [
        ServerEvent(1, "output", {"stream": "stdout", "text": "a\n"}),
        ServerEvent(2, "ended", {}),
    ]


def test_an_event_that_was_cut_off_is_not_given() -> None:
    assert list(parse_events(iter(["id: 1", "event: output", 'data: {"text"']))) == []


# --- a controller in the background -------------------------------------------------------------


def test_a_pid_file_that_nobody_holds_is_of_nobody(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.running_pid() is None
    state.pid_file.write_text(str(os.getpid()))
    assert state.running_pid() is None


# --- doctor -------------------------------------------------------------------------------------

GOOD_ENGINE = {
    "ServerVersion": "27.1.1",
    "OperatingSystem": "Debian GNU/Linux 12",
    "OSType": "linux",
    "NCPU": 4,
    "MemTotal": 16 * 10**9,
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "MemoryLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SwapLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
}


def test_a_good_engine_has_only_good_findings() -> None:
    assert {finding.outcome for finding in engine_findings(GOOD_ENGINE)} == {Outcome.OK}


@pytest.mark.parametrize(
    ("change", "name", "outcome"),
    [
        ({"ServerVersion": "19.03.1"}, "engine", Outcome.FAILED),
        ({"OSType": "windows"}, "engine", Outcome.FAILED),
        ({"MemoryLimit": False}, "memory limit", Outcome.FAILED),
        ({"PidsLimit": False}, "process limit", Outcome.FAILED),
        ({"CpuCfsQuota": False}, "CPU limit", Outcome.FAILED),
        ({"CgroupVersion": "1", "SwapLimit": False}, "swap limit", Outcome.KNOWN),
        ({"CgroupVersion": "1"}, "control groups", Outcome.KNOWN),
        ({"SecurityOptions": []}, "system call filter", Outcome.FAILED),
        ({"SecurityOptions": ["name=seccomp,profile=unconfined"]}, "system call filter", Outcome.FAILED),
        ({"MemTotal": 10**9}, "engine's memory", Outcome.KNOWN),
        ({"Warnings": ["WARNING: something"]}, "engine's warning", Outcome.KNOWN),
    ],
)
def test_each_lack_of_an_engine_is_found_and_says_what_to_do(
    change: dict[str, object], name: str, outcome: Outcome
) -> None:
    found = [finding for finding in engine_findings({**GOOD_ENGINE, **change}) if finding.name == name]
    assert [finding.outcome for finding in found] == [outcome]
    assert found[0].fix or found[0].words


# --- demo ---------------------------------------------------------------------------------------


def test_no_step_of_the_demo_takes_a_failure_or_an_empty_answer_for_right() -> None:
    for step in STEPS:
        assert step.wrong(ToolAnswer(False, "NameError: x", {}))
        assert step.wrong(ToolAnswer(True, None, {}))


# --- bench --------------------------------------------------------------------------------------


def test_percentiles_are_samples() -> None:
    samples = [float(value) for value in range(100, 0, -1)]
    assert (p50(samples), p95(samples), p95([7.0])) == (50.0, 95.0, 7.0)


def test_a_report_compares_with_the_same_percentile_and_knows_its_limits() -> None:
    samples = {Probe.ANSWER: [2.0, 2.0, 8.0], Probe.RAW_ANSWER: [1.0, 2.0, 4.0], Probe.IDLE_MEMORY: [61.0]}
    report = compose(samples, runtime="docker", rounds=1, notes=())
    shown = [(row.what, row.figure, row.ratio, row.met) for row in report.rows]
    assert shown == [
        ("print(1), live session", 2.0, 1.0, True),
        ("print(1), live session, p95", 8.0, 2.0, False),
        ("idle sandbox, memory", 61.0, None, False),
    ]


def test_what_was_not_measured_is_left_out_of_the_report() -> None:
    report = compose({Probe.BASH: [1.0]}, runtime="process", rounds=1, notes=["a note"])
    assert report.rows == ()
    assert json.loads(as_json(report))["notes"] == ["a note"]
