"""The direct road of the Composio face, over a real server and real sandboxes."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import BASH, OTHER_KEY, WORKBENCH, Server
from tests.compat.requirements import promises

PREFIXES = ["/api/v3", "/api/v3.1"]


@promises("CC-2.10", "CC-2.11", "CC-2.16", "CC-0.10")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_python_answers_in_the_agreed_shape(client: httpx.Client, session: str, prefix: str) -> None:
    arguments = {"code_to_execute": "x = 41\nprint(x + 1)\nx", "session_id": session}
    response = client.post(f"{prefix}/tools/execute/{WORKBENCH}", json={"arguments": arguments})
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"data", "error", "successful", "log_id", "session_info"}
    assert answer["error"] is None
    assert answer["successful"] is True
    assert answer["session_info"] is None
    assert answer["log_id"].startswith("log_")
    data = answer["data"]
    assert (data["results"], data["stdout"], data["stderr"], data["error"]) == ("42\n41", "42\n", "", "")
    assert re.fullmatch("[a-z0-9]{4}", data["sandbox_id_suffix"])
    assert data["session"]["id"].startswith("trs_")
    assert data["session"]["id"] in data["session"]["instructions"]
    assert data["artifacts"] == []
    assert data["execution"]["ending"] == "completed"
    assert {name for name in data if name.endswith("_file_path")} == set()


@promises("CC-2.10", "CC-2.12")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_bash_answers_in_the_agreed_shape(client: httpx.Client, session: str, prefix: str) -> None:
    arguments = {"command": "echo one; echo two; echo bad >&2; exit 3", "session_id": session}
    answer = client.post(f"{prefix}/tools/execute/{BASH}", json={"arguments": arguments}).json()
    assert answer["successful"] is True
    assert answer["error"] is None
    data = answer["data"]
    assert (data["stdout"], data["stdoutLines"], data["stderr"], data["stderrLines"]) == ("one\ntwo\n", 2, "bad\n", 1)
    assert data["exit_code"] == 3
    assert data["execution"]["ending"] == "completed"
    assert "results" not in data
    assert {name for name in data if name.endswith("_file_path")} == set()


def test_the_slug_is_known_in_lower_case_too(client: httpx.Client, session: str) -> None:
    body = {"arguments": {"command": "true", "session_id": session}}
    assert client.post(f"/api/v3/tools/execute/{BASH.lower()}", json=body).status_code == 200


def test_variables_and_files_are_shared_by_calls_and_tools(server: Server, session: str) -> None:
    server.run("kept = 7\nopen('note.txt', 'w').write('from python')", session=session)
    assert server.run("kept", session=session)["data"]["results"] == "7"
    assert server.bash("cat note.txt", session=session)["data"]["stdout"] == "from python"


@promises("CC-9.07")
def test_code_that_raised_is_an_answer_with_the_output_before_it(server: Server, session: str) -> None:
    answer = server.run("print('before')\nnot_there", session=session)
    assert answer["successful"] is False
    assert answer["error"] == "NameError: name 'not_there' is not defined"
    data = answer["data"]
    assert data["stdout"] == "before\n"
    assert "Traceback" in data["error"]
    assert "NameError" in data["error"]
    assert "\x1b" not in data["error"]
    assert (data["execution"]["variables"], data["execution"]["files"]) == ("kept", "kept")


@promises("CC-8.04", "CC-9.09")
def test_a_timeout_says_what_was_done_and_keeps_output_and_variables(server: Server, session: str) -> None:
    code = "kept = 1\nprint('so far', flush=True)\nwhile True: pass"
    answer = server.run(code, session=session, timeout=1)
    assert answer["successful"] is False
    assert answer["error"] == "Timed out after 1 s: the code was interrupted. Variables and files are kept."
    data = answer["data"]
    assert data["stdout"] == "so far\n"
    assert data["error"].startswith(answer["error"])
    assert (data["execution"]["ending"], data["execution"]["action"]) == ("timed_out", "interrupted")
    assert server.run("kept", session=session)["data"]["results"] == "1"


def test_a_bash_timeout_kills_the_group(server: Server, session: str) -> None:
    answer = server.bash("echo so far; sleep 100", session=session, timeout=1)
    assert answer["successful"] is False
    assert answer["error"] == (
        "Timed out after 1 s: the command and its process group were killed. Variables and files are kept."
    )
    assert answer["data"]["stdout"] == "so far\n"


def test_a_dead_kernel_is_told_and_the_session_goes_on(server: Server, session: str) -> None:
    answer = server.run("import os\nos._exit(3)", session=session)
    assert answer["successful"] is False
    assert answer["error"] == (
        "The Python kernel died: exit code 3. A new one was started. Variables are lost; files are kept."
    )
    assert server.run("1 + 1", session=session)["data"]["results"] == "2"


# --- output over the limit ----------------------------------------------------------------------------


@promises("CC-0.11", "CC-2.16", "CC-7.02", "CC-7.03")
def test_python_output_over_the_limit_is_cut_with_the_agreed_notice(server: Server, session: str) -> None:
    data = server.run("print('x' * 50_000)", session=session)["data"]
    path = data["stdout_file_path"]
    assert re.fullmatch(r".*/\.composio/output/exec_[a-z]+_stdout\.txt", path)
    assert data["stdout"] == "x" * 40_000 + (
        f"\n... (output truncated, full output saved to: {path})"
        f"\nTo view the full output, run code: open('{path}').read()"
        f"\nOr use COMPOSIO_BASH_TOOL: 'cat {path}' / 'head -n 100 {path}' / 'tail -n 100 {path}'"
    )
    assert data["results"].startswith("x" * 40_000 + "\n... (output truncated, full output saved to: ")
    assert data["results_file_path"] in data["results"]
    assert "stderr_file_path" not in data
    assert server.run(f"len(open({path!r}).read())", session=session)["data"]["results"] == "50001"


@promises("CC-2.12", "CC-7.01", "CC-7.03")
def test_bash_output_over_the_limit_is_cut_with_the_agreed_notice(server: Server, session: str) -> None:
    data = server.bash("seq 1 20000; seq 1 20000 >&2", session=session)["data"]
    whole = "".join(f"{number}\n" for number in range(1, 20_001))
    for stream in ("stdout", "stderr"):
        path = data[f"{stream}_file_path"]
        assert re.fullmatch(rf".*/\.composio/output/bash_[a-z]+_{stream}\.txt", path)
        assert data[stream] == whole[:40_000] + (
            f"\n... (output truncated, full output saved to: {path})"
            f"\nRun 'cat {path}' to view the full output, or use 'head -n 100 {path}' / 'tail -n 100 {path}' "
            "to view parts of it."
        )
        assert data[f"{stream}Lines"] == 20_000
        assert server.bash(f"md5sum < {path}; seq 1 20000 | md5sum | uniq", session=session)["data"]["stdoutLines"] == 2
        assert Path(path).read_text() == whole


def test_output_of_just_the_limit_is_whole(server: Server, session: str) -> None:
    data = server.run("import sys\n_ = sys.stdout.write('x' * 40_000)", session=session)["data"]
    assert data["stdout"] == data["results"] == "x" * 40_000
    assert "stdout_file_path" not in data


# --- which session ------------------------------------------------------------------------------------


def ask(client: httpx.Client, arguments: dict[str, Any], **body: Any) -> str:
    """Run nothing; the id of the session that it ran in."""
    arguments = {"code_to_execute": "", **arguments}
    response = client.post(f"/api/v3.1/tools/execute/{WORKBENCH}", json={"arguments": arguments, **body})
    assert response.status_code == 200, response.text
    found: str = response.json()["data"]["session"]["id"]
    return found


@promises("CC-0.03", "CC-9.11")
def test_the_session_is_named_by_id_or_label_else_by_user_else_by_key(server: Server, client: httpx.Client) -> None:
    by_label = ask(client, {"session_id": "a label"}, user_id="user_1")
    assert ask(client, {"session_id": "a label"}) == by_label
    assert ask(client, {"session_id": by_label}) == by_label
    by_user = ask(client, {}, user_id="user_1", version="latest", connected_account_id="ignored", text="ignored")
    assert ask(client, {"session_id": None}, user_id="user_1") == by_user
    by_key = ask(client, {})
    assert ask(client, {"session_id": ""}) == by_key
    assert len({by_label, by_user, by_key}) == 3


def test_the_same_label_of_two_keys_is_two_sessions(server: Server, session: str) -> None:
    mine = server.run("whose = 'mine'", session=session)["data"]["session"]["id"]
    other = server.run("'whose' in globals()", session=session, key=OTHER_KEY)["data"]
    assert other["session"]["id"] != mine
    assert other["results"] == "False"


def test_another_keys_session_is_not_found(server: Server, session: str) -> None:
    mine = server.run("1", session=session)["data"]["session"]["id"]
    arguments = {"code_to_execute": "1", "session_id": mine}
    with server.client(OTHER_KEY) as other:
        response = other.post(f"/api/v3/tools/execute/{WORKBENCH}", json={"arguments": arguments})
        assert response.status_code == 404
        assert other.get(f"/v1/sessions/{mine}").status_code == 404
        assert other.delete(f"/v1/sessions/{mine}").status_code == 404


# --- generations of arguments -------------------------------------------------------------------------


@promises("CC-0.09", "CC-2.01", "CC-2.02", "CC-2.04")
@pytest.mark.parametrize(
    "extra",
    [
        {
            "thought_process": "count",
            "file_path": "/home/user/*.json",
            "current_step": "COUNTING",
            "current_step_metric": {"completed": 1, "total": 2, "unit": "rows"},
            "next_step": "DONE",
        },
        {"thought": "count", "timeout": 60},
        {"thought": "count", "current_step": "COUNTING", "current_step_metric": "10/100 emails"},
        {"something_new": {"a": [1]}},
        {"thought": None, "timeout": None, "current_step_metric": None},
    ],
    ids=["2025", "skill document", "2026", "unknown", "nulls"],
)
def test_every_generation_of_arguments_runs(server: Server, extra: dict[str, Any]) -> None:
    assert server.run("2 + 2", session="generations", **extra)["data"]["results"] == "4"


@promises("CC-8.07")
def test_large_code_runs(server: Server, session: str) -> None:
    data = server.run(f"text = '''{'ä' * 2_000_000}'''\nlen(text)", session=session)["data"]
    assert data["results"] == "2000000"


def test_what_is_not_ascii_comes_back_as_it_is(server: Server, session: str) -> None:
    assert server.run("print('ä€😀\\u2028')", session=session)["data"]["stdout"] == "ä€😀\u2028\n"
