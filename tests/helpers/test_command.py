"""The command of bash, run as a program."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import helpers
from sandbox.helper_source import helpers_folder
from tests.helpers.conftest import Serve
from tests.support.relay_server import Replies, result

COMMAND = helpers_folder() / "bin" / "helper"


def run(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )


def test_a_result_is_printed_as_json(serve: Serve) -> None:
    server = serve(lambda _: result({"data": {"a": "ä"}}))
    done = run("run_composio_tool", "A_B", '{"n": 1}', "--account", "work")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"data": {"a": "ä"}}
    assert server.requests == [
        {
            "helper": "run_composio_tool",
            "arguments": {"tool_slug": "A_B", "arguments": {"n": 1}, "account": "work"},
        }
    ]


def test_the_execution_of_the_bash_call_is_passed_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_EXECUTION", "e7")
    server = serve(lambda _: result("found"))
    assert run("web_search", "words").stdout == "found\n"
    assert server.requests[0]["execution"] == "e7"


def test_an_error_goes_to_standard_error_with_exit_code_1(serve: Serve) -> None:
    serve(lambda _: result({"data": {}, "successful": False}, "no such message"))
    done = run("run_composio_tool", "A_B")
    assert (done.returncode, done.stderr) == (1, "no such message\n")
    assert json.loads(done.stdout) == {"data": {}, "successful": False}


def test_long_arguments_come_from_a_file_or_standard_input(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda _: result({}))
    (tmp_path / "a.json").write_text('{"from": "file"}')
    run("run_composio_tool", "A_B", f"@{tmp_path}/a.json")
    run("run_composio_tool", "A_B", "-", stdin='{"from": "stdin"}')
    assert [request["arguments"]["arguments"]["from"] for request in server.requests] == ["file", "stdin"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run_composio_tool", "A", "{"], "JSON is no JSON"),
        (["run_composio_tool", "A", "@/no/such"], "/no/such cannot be read"),
        (["run_composio_tool", "A", "[]"], "arguments must be a dict"),
        (["upload_local_file", "/no/such"], "/no/such: there is no such file"),
        (["web_search", "x"], "not available here"),
    ],
)
def test_what_cannot_be_done_is_said(no_relay: Path, arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_an_unknown_helper_is_a_command_that_makes_no_sense() -> None:
    done = run("no_such_helper")
    assert done.returncode == 2
    assert "no_such_helper" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["invoke_llm", "why?", "--reasoning-effort", "low"], {"query": "why?", "reasoning_effort": "low"}),
        (
            ["proxy_execute", "PUT", "/x", "github", "--query", '{"a": 1}', "--headers", '{"B": "c"}', "--body", "[1]"],
            {
                "method": "PUT",
                "endpoint": "/x",
                "toolkit": "github",
                "query": [["a", "1"]],
                "headers": [["B", "c"]],
                "body": [1],
            },
        ),
        (["get_mount_file_url", __file__], {"path": __file__}),
        (["get_mount_file_s3_key", __file__], {"path": __file__}),
        (
            ["upload_local_file", __file__],
            {"path": __file__, "name": "test_command.py", "content_type": "text/x-python"},
        ),
    ],
)
def test_each_helper_can_be_called(serve: Serve, arguments: list[str], sent: dict[str, Any]) -> None:
    server = serve(lambda _: result({}))
    assert run(*arguments).returncode == 0
    assert server.requests == [{"helper": arguments[0], "arguments": sent}]


def test_a_document_is_printed_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 5000)
    assert run("smart_file_extract", "a.txt", cwd=tmp_path).stdout.strip() == "x" * 5000


def test_help_lists_all_helpers_with_an_example_and_says_what_is_switched_off(serve: Serve) -> None:
    names = [helper.__name__ for helper in helpers.FUNCTIONS]
    serve(lambda _: result([name for name in names if name not in ("web_search", "smart_file_extract")]))
    words = run("--help").stdout
    assert all(name in words for name in names)
    assert words.count("(switched off in this") == 1
    assert "example: helper run_composio_tool" in words


def test_help_does_not_need_a_relay(no_relay: Path) -> None:
    assert "switched off" not in run("--help").stdout
    assert "SLUG" in run("run_composio_tool", "--help").stdout


def test_what_lies_in_the_folder_is_not_imported(tmp_path: Path) -> None:
    for name in ("json", "socket", "helpers", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')")
    assert run("--help", cwd=tmp_path).returncode == 0


def test_a_reader_that_goes_away_is_no_error(serve: Serve) -> None:
    serve(lambda _: Replies(({"result": "x" * 200_000, "error": ""},)))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {COMMAND} web_search x | head -c 10"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("x" * 10, "", 0)
