"""Bash calls: what ends them, what of them is kept, and that nothing of a command can hang or hide."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.agent.bash import Bash
from sandbox.agent.environment import find_shell
from sandbox.agent.output import SpillNames
from sandbox.agent.processes import ProcessTable
from sandbox.errors import CallFault
from sandbox.limits import BASH_RUNNING_MAX, INLINE_CHARS, LIVE_CHARS
from sandbox.pipe.messages import (
    Action,
    BashResult,
    Ending,
    LiveAction,
    LiveCut,
    LiveOutput,
    Progress,
    Started,
    StreamName,
    StreamOutput,
)

pytestmark = pytest.mark.anyio

DEADLINE_S = 30

NAP = f"sleep 300.{os.getpid()}"
"""A long sleep that no other process of this machine does."""

COUNT_NAPS = f"pgrep -fc '[s]leep 300.{os.getpid()}'"


async def run(bash: Bash, command: str, *, timeout_s: float = 60) -> BashResult:
    call = bash.run(command, timeout_s=timeout_s, interrupted=asyncio.Event(), emit=None)
    return await asyncio.wait_for(call, DEADLINE_S)


async def until(true: Callable[[], bool]) -> None:
    """Let the loop work until something is so, under a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 - no event tells that a file or a job changed
            await asyncio.sleep(0.01)


class Followed:
    """A call with its events; `line` waits for a line of live output."""

    def __init__(self, bash: Bash, command: str, *, timeout_s: float = 60) -> None:
        self.events: list[Progress] = []
        self.interrupted = asyncio.Event()
        self._came = asyncio.Event()
        call = bash.run(command, timeout_s=timeout_s, interrupted=self.interrupted, emit=self._take)
        self.task = asyncio.create_task(call)

    def text(self, stream: StreamName = StreamName.STDOUT) -> str:
        return "".join(e.text for e in self.events if isinstance(e, LiveOutput) and e.stream is stream)

    async def line(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while f"{text}\n" not in self.text():
                self._came.clear()
                await self._came.wait()

    async def result(self) -> BashResult:
        return await asyncio.wait_for(self.task, DEADLINE_S)

    def _take(self, event: Progress) -> None:
        self.events.append(event)
        self._came.set()


def content(path: str | Path) -> str | None:
    """What a file holds, or None when there is no file."""
    return Path(path).read_text() if Path(path).exists() else None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_both_streams_and_the_exit_code_come_back(bash: Bash) -> None:
    result = await run(bash, "echo out; echo err >&2; exit 3")
    assert result.ending is Ending.COMPLETED
    assert result.action is Action.NONE
    assert result.exit_code == 3
    assert result.stdout == StreamOutput("out\n", bytes=4, lines=1)
    assert result.stderr == StreamOutput("err\n", bytes=4, lines=1)
    assert result.duration_ms > 0
    assert result.note is None


async def test_commands_start_at_home_with_an_environment_made_from_scratch(bash: Bash, home: Path) -> None:
    os.environ["SECRET_OF_THE_AGENT"] = "s3cret"
    try:
        result = await run(bash, "pwd; env")
    finally:
        del os.environ["SECRET_OF_THE_AGENT"]
    lines = result.stdout.text.splitlines()
    assert lines[0] == str(home)
    assert f"HOME={home}" in lines
    assert "s3cret" not in result.stdout.text
    assert "PYTHONPATH" not in result.stdout.text


async def test_each_command_has_a_fresh_shell(bash: Bash) -> None:
    await run(bash, "cd /; export A=1; alias ll=ls")
    assert (await run(bash, 'echo "[$A]$PWD"')).stdout.text.startswith("[]")
    assert "/home" in (await run(bash, "pwd")).stdout.text


@pytest.mark.parametrize(
    "command",
    [
        f"nohup {NAP} &",
        f"({NAP}) &",
        f"setsid {NAP} &",
        f"{NAP} & disown",
        f"(setsid {NAP} >/dev/null 2>&1 &)",
    ],
    ids=["nohup", "subshell", "setsid", "disown", "daemon"],
)
async def test_a_background_job_does_not_hold_the_call_and_survives_to_the_next(bash: Bash, command: str) -> None:
    result = await run(bash, command)
    assert result.ending is Ending.COMPLETED
    assert result.exit_code == 0
    assert (await run(bash, COUNT_NAPS)).stdout.text == "1\n"
    assert bash.background_jobs == 1


async def test_late_output_of_a_background_job_is_appended_to_the_spill_file(bash: Bash, tmp_path: Path) -> None:
    go, done = tmp_path / "go", tmp_path / "done"
    command = f"echo early; (while [ ! -e {go} ]; do sleep 0.01; done; echo late; touch {done}) &"
    result = await run(bash, command)
    assert result.stdout == StreamOutput("early\n", bytes=6, lines=1)
    assert result.note is not None
    path = next(Path(word) for word in result.note.split() if word.endswith("_stdout.txt"))
    assert content(path) is None
    go.touch()
    await until(lambda: content(path) == "early\nlate\n")
    await until(lambda: bash.background_jobs == 0)
    assert done.exists()


async def test_a_job_that_floods_its_output_for_ever_does_not_hold_the_call(bash: Bash) -> None:
    result = await run(bash, "yes flood & echo $!")
    assert result.ending is Ending.COMPLETED
    pid = next(int(line) for line in result.stdout.text.splitlines() if line.isdigit())
    assert (await run(bash, "echo usable")).stdout.text == "usable\n"
    os.kill(pid, signal.SIGKILL)
    await until(lambda: bash.background_jobs == 0)


@pytest.mark.parametrize(
    "command", ["cat", "read line || echo no line", "python3 -c 'input()'", "sudo -S true || true"]
)
async def test_what_reads_standard_input_gets_its_end_at_once(bash: Bash, command: str) -> None:
    assert (await run(bash, command)).ending is Ending.COMPLETED


async def test_pagers_print_instead_of_waiting(bash: Bash, home: Path) -> None:
    (home / "text").write_text("line\n" * 200)
    result = await run(bash, "$PAGER text; less text 2>/dev/null || more text")
    assert result.stdout.lines >= 400


async def test_a_command_past_its_deadline_is_killed_with_all_its_groups(bash: Bash) -> None:
    command = (
        f"trap '' TERM INT; echo begun; (trap '' TERM; {NAP}) & timeout 300 {NAP} & "
        f"set -m; {NAP} & while :; do {NAP}; done"
    )
    result = await run(bash, command, timeout_s=0.5)
    assert result.ending is Ending.TIMED_OUT
    assert result.action is Action.PROCESS_GROUP_KILLED
    assert result.stdout.text == "begun\n"
    assert result.signal == "SIGKILL"
    assert (await run(bash, COUNT_NAPS)).stdout.text == "0\n"


async def test_a_command_that_heeds_sigterm_may_clean_up_at_its_deadline(bash: Bash) -> None:
    result = await run(bash, "trap 'echo cleaned; exit 5' TERM; while :; do sleep 0.05; done", timeout_s=0.5)
    assert (result.ending, result.exit_code, result.stdout.text) == (Ending.TIMED_OUT, 5, "cleaned\n")


async def test_an_interrupt_ends_a_command_as_ctrl_c_does(bash: Bash) -> None:
    call = Followed(bash, f"echo begun; {NAP}; echo never")
    await call.line("begun")
    call.interrupted.set()
    result = await call.result()
    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.INTERRUPTED)
    assert (result.exit_code, result.signal) == (130, "SIGINT")
    assert result.stdout.text == "begun\n"
    assert LiveAction(Action.INTERRUPTED, Ending.INTERRUPTED) in call.events


async def test_a_command_that_ignores_the_interrupt_is_killed(bash: Bash) -> None:
    call = Followed(bash, "trap '' INT; echo begun; while :; do sleep 0.1; done")
    await call.line("begun")
    call.interrupted.set()
    result = await call.result()
    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.PROCESS_GROUP_KILLED)
    assert result.signal == "SIGTERM"


async def test_a_command_that_was_interrupted_before_it_began_never_runs(bash: Bash, home: Path) -> None:
    interrupted = asyncio.Event()
    interrupted.set()
    result = await bash.run("touch ran", timeout_s=9, interrupted=interrupted, emit=None)
    assert (result.ending, result.action) == (Ending.INTERRUPTED, Action.NOT_STARTED)
    assert not (home / "ran").exists()


async def test_cancelling_the_call_kills_the_command(bash: Bash) -> None:
    call = Followed(bash, f"echo begun; {NAP}")
    await call.line("begun")
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert bash.running == 0
    assert (await run(bash, COUNT_NAPS)).stdout.text == "0\n"


@pytest.mark.parametrize(
    ("command", "exit_code", "stdout", "stderr"),
    [
        ("", 0, "", ""),
        ("   \n\n", 0, "", ""),
        ("# only a comment", 0, "", ""),
        ("   echo indented", 0, "indented\n", ""),
        ("-x", 127, "", "command not found"),
        ("cat <<'END'\nhere $HOME\nEND", 0, "here $HOME\n", ""),
        ("echo 'unbalanced", 2, "", "unexpected EOF"),
        ("if true; then echo", 2, "", "syntax error"),
        ("echo 'é 漢 🥊'", 0, "é 漢 🥊\n", ""),
        ("kill -SEGV $$", 139, "", ""),
        ("no_such_program", 127, "", "command not found"),
        ("echo before\0echo after", None, "", ""),
    ],
)
async def test_odd_commands_get_an_answer_of_bash(
    bash: Bash, command: str, exit_code: int | None, stdout: str, stderr: str
) -> None:
    result = await run(bash, command)
    assert result.ending is Ending.COMPLETED
    assert exit_code is None or result.exit_code == exit_code
    assert result.stdout.text == stdout or exit_code is None
    assert stderr in result.stderr.text


async def test_a_command_of_a_megabyte_runs(bash: Bash) -> None:
    result = await run(bash, ": '" + "x" * 1_000_000 + "'\n" + "echo done # " + "y" * 1_000_000)
    assert (result.exit_code, result.stdout.text) == (0, "done\n")


async def test_broken_utf8_and_nul_bytes_in_output_are_replaced_inline(bash: Bash) -> None:
    result = await run(bash, r"printf 'a\xff\x00b\xc3'")
    assert result.stdout == StreamOutput("a\ufffd\0b\ufffd", bytes=5, lines=1)


async def test_ten_megabytes_of_one_line_are_bounded_inline_and_whole_on_disk(bash: Bash) -> None:
    result = await run(bash, "head -c 10000000 /dev/zero | tr '\\0' x")
    assert result.stdout.text == "x" * INLINE_CHARS
    assert (result.stdout.bytes, result.stdout.lines) == (10_000_000, 1)
    assert result.stdout.path is not None
    assert content(result.stdout.path) == "x" * 10_000_000


async def test_a_command_that_is_stopped_ends_at_its_deadline(bash: Bash) -> None:
    result = await run(bash, "kill -STOP $$", timeout_s=0.3)
    assert (result.ending, result.signal) == (Ending.TIMED_OUT, "SIGTERM")


async def test_live_output_comes_before_the_ending_and_in_order(bash: Bash) -> None:
    call = Followed(bash, "for i in 1 2 3; do echo out $i; done; echo err >&2")
    result = await call.result()
    assert call.events[0] == Started()
    assert call.text() == result.stdout.text == "out 1\nout 2\nout 3\n"
    assert call.text(StreamName.STDERR) == "err\n"


async def test_a_flood_of_live_output_is_cut_and_the_answer_goes_on(bash: Bash) -> None:
    call = Followed(bash, "head -c 3000000 /dev/zero | tr '\\0' x")
    result = await call.result()
    assert len(call.text()) == LIVE_CHARS
    assert call.events[-1] == LiveCut()
    assert len(call.events) < 300
    assert result.stdout.bytes == 3_000_000


async def test_calls_run_beside_each_other_up_to_a_bound(bash: Bash) -> None:
    calls = [Followed(bash, f"echo begun; {NAP}") for _ in range(BASH_RUNNING_MAX)]
    for call in calls:
        await call.line("begun")
    assert bash.running == BASH_RUNNING_MAX
    with pytest.raises(CallFault, match="bash calls run already") as caught:
        await run(bash, "true")
    assert caught.value.fault == "busy"
    for call in calls:
        call.interrupted.set()
    endings = [(await call.result()).ending for call in calls]
    assert set(endings) == {Ending.INTERRUPTED}
    assert (await run(bash, "echo usable")).stdout.text == "usable\n"


async def test_a_home_that_was_deleted_does_not_stop_commands(bash: Bash) -> None:
    await run(bash, 'rmdir "$HOME"')
    assert (await run(bash, "pwd")).stdout.text == "/\n"


async def test_a_program_named_bash_on_the_users_path_does_not_come_before_bash(
    processes: ProcessTable, home: Path, spills: Path, env: dict[str, str]
) -> None:
    mine = home / "bash"
    mine.write_text("#!/bin/sh\necho mine\n")
    mine.chmod(0o755)
    env = {**env, "PATH": f"{home}:{env['PATH']}"}
    bash = Bash(home=home, folder=spills, processes=processes, names=SpillNames(spills), env=env)
    result = await run(bash, f'command -v bash; [ "/proc/$$/exe" -ef {find_shell()} ]')
    assert (result.stdout.text, result.exit_code) == (f"{mine}\n", 0)


async def test_a_bash_that_cannot_be_started_is_said(
    processes: ProcessTable, home: Path, spills: Path, env: dict[str, str]
) -> None:
    names = SpillNames(spills)
    bash = Bash(home=home, folder=spills, processes=processes, names=names, env=env, shell="/nowhere/bash")
    result = await run(bash, "true")
    assert (result.ending, result.action) == (Ending.ERROR, Action.NONE)
    assert result.note is not None
    assert "No such file" in result.note


async def test_nothing_is_left_open_after_many_calls(bash: Bash) -> None:
    await run(bash, "true")
    before = open_files()
    for _ in range(30):
        await run(bash, "echo x; head -c 50000 /dev/zero")
    assert open_files() == before
