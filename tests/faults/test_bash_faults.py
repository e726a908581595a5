"""Commands that hold, hide or flood, through HTTP, session and container."""

from typing import Final

import pytest

from tests.compat.requirements import promises
from tests.support.controller import Controller
from tests.support.faults import bash, ending, fault, usable

pytestmark = pytest.mark.docker

SESSION: Final = "bash faults"
COMMIT: Final = "git -c user.name=one -c user.email=one@host commit --allow-empty"


@promises("CC-8.05")
@fault("B01")
@pytest.mark.parametrize(
    "start",
    [
        "nohup sleep 3001 & echo $!",
        "(sleep 3002) & echo $!",
        "setsid sleep 3003 & echo $!",
        "python3 -c 'import os, time\nif os.fork(): os._exit(0)\nos.setsid(); print(1, flush=True); time.sleep(3004)'",
    ],
)
def test_a_background_job_does_not_hold_the_call_and_survives_it(fault_server: Controller, start: str) -> None:
    answer = bash(fault_server, SESSION, start, timeout=20)
    assert ending(answer)[0] == "completed"
    assert bash(fault_server, SESSION, "pgrep -fc '[s]leep.300[1-4]'")["data"]["stdout"] == "1\n"
    bash(fault_server, SESSION, "pkill -f '[s]leep.300[1-4]'")


@fault("B02")
@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        ("cat; echo $?", "0\n"),
        ("read x; echo $?", "1\n"),
        ("python3 -c 'import sys; print(repr(sys.stdin.read()))'", "''\n"),
    ],
)
def test_standard_input_is_at_its_end(fault_server: Controller, command: str, stdout: str) -> None:
    answer = bash(fault_server, SESSION, command, timeout=20)
    assert (ending(answer)[:2], answer["data"]["stdout"]) == (("completed", "none"), stdout), answer


@fault("B03")
@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        ("less /etc/passwd", 0, "root:x:0:0"),
        ("git init -q made; cd made; git log", 128, "does not have any commits yet"),
        (f"cd made; {COMMIT}", 1, "Please supply the message"),
        (f"cd made; EDITOR=vi {COMMIT}", 1, "problem with the editor 'vi'"),
        (f"cd made; EDITOR=nano {COMMIT}", 1, "problem with the editor 'nano'"),
        ("git help log", 128, "no man viewer handled the request"),
        ("vi new.txt", 1, "not to a terminal"),
        ("view /etc/passwd", 1, "not to a terminal"),
        ("nano new.txt", 1, "Standard input is not a terminal"),
        ("printf 'a\\nb\\n' > new.txt; printf '2d\\nwq\\n' | vi -es new.txt; cat new.txt", 0, "a\n"),
        ("python3 -i -c 'print(1)'", 0, "1\n"),
    ],
)
def test_editors_and_pagers_do_not_wait(fault_server: Controller, command: str, exit_code: int, words: str) -> None:
    answer = bash(fault_server, SESSION, command, timeout=20)
    data = answer["data"]
    assert (ending(answer)[:2], data["exit_code"]) == (("completed", "none"), exit_code), answer
    assert words in data["stdout"] + data["stderr"]


@fault("B04")
@pytest.mark.parametrize(
    "command", ["trap '' TERM INT HUP; while :; do sleep 3010; done", "(bash -c 'sleep 3011 & wait') & wait"]
)
def test_at_the_deadline_the_whole_group_is_gone(fault_server: Controller, command: str) -> None:
    answer = bash(fault_server, SESSION, f"echo began; {command}", timeout=1)
    assert ending(answer) == ("timed_out", "process_group_killed", "kept", "kept"), answer
    assert answer["data"]["stdout"] == "began\n"
    assert bash(fault_server, SESSION, "pgrep -fc '[s]leep 301[01]'")["data"]["stdout"] == "0\n"
    usable(fault_server, SESSION)


@fault("B05")
@pytest.mark.parametrize(
    ("command", "stdout", "exit_code"),
    [
        ("printf 'a\\0b'", "a\x00b", 0),
        ("printf '\\xff\\xc3'", "��", 0),
        ("# only a comment", "", 0),
        ("cat <<'END'\n  two\nlines $HOME\nEND", "  two\nlines $HOME\n", 0),
        ("   echo lead", "lead\n", 0),
        ("echo 'unbalanced", "", 2),
        (": " + "x" * 1_000_000 + "\necho done", "done\n", 0),
    ],
)
def test_odd_commands_get_bashs_own_answer(fault_server: Controller, command: str, stdout: str, exit_code: int) -> None:
    data = bash(fault_server, SESSION, command)["data"]
    assert (data["stdout"], data["exit_code"]) == (stdout, exit_code)


@fault("B06")
def test_an_empty_command_is_bash_s_to_answer(fault_server: Controller) -> None:
    data = bash(fault_server, SESSION, "")["data"]
    assert (data["exit_code"], data["stdout"], data["stderr"]) == (0, "", "")


@fault("B06")
def test_a_command_with_a_nul_byte_is_bash_s_to_answer(fault_server: Controller) -> None:
    answer = bash(fault_server, SESSION, "a\0b")
    assert answer["successful"]
    assert (answer["data"]["exit_code"], answer["data"]["stdout"]) == (126, "")
    assert "cannot execute binary file" in answer["data"]["stderr"]
    usable(fault_server, SESSION)


@fault("B07")
def test_one_line_of_10_mb_is_cut_inline_and_whole_in_its_file(fault_server: Controller) -> None:
    data = bash(fault_server, SESSION, "head -c 10000000 /dev/zero | tr '\\0' x")["data"]
    assert len(data["stdout"]) < 42_000
    assert bash(fault_server, SESSION, f"wc -c < {data['stdout_file_path']}")["data"]["stdout"] == "10000000\n"


@fault("B09")
@pytest.mark.parametrize(
    ("command", "exit_code", "stdout"),
    [
        ("kill -9 $$", 137, ""),
        ("bash -c 'kill -TERM $PPID'; echo never", 143, ""),
        ("exec 1>&-; echo lost", 1, ""),
        ("exec </dev/zero; head -c 3 | wc -c", 0, "3\n"),
        ("ulimit -v 1000; ls", 127, ""),
        ("set -e; sleep 3020 & false; echo never", 1, ""),
        ("coproc cat; echo x >&${COPROC[1]}; read -r y <&${COPROC[0]}; echo $y", 0, "x\n"),
        ("export X=$(head -c 200000 /dev/zero | tr '\\0' x); /bin/true", 126, ""),
        ("yes | tee /proc/1/fd/100 2>/dev/null | head -n 1", 0, "y\n"),
    ],
)
def test_a_shell_that_harms_itself_ends_and_says_how(
    fault_server: Controller, command: str, exit_code: int, stdout: str
) -> None:
    answer = bash(fault_server, SESSION, command, timeout=20)
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    assert (answer["data"]["exit_code"], answer["data"]["stdout"]) == (exit_code, stdout)
    usable(fault_server, SESSION)


@fault("B08")
def test_a_home_that_was_shut_can_be_opened_again(fault_server: Controller) -> None:
    session = "shut home"
    bash(fault_server, session, "echo kept > kept.txt; chmod 0 ~")
    answer = bash(fault_server, session, "pwd; chmod 755 ~")
    assert (ending(answer)[:2], answer["data"]["stdout"]) == (("completed", "none"), "/\n"), answer
    assert bash(fault_server, session, "pwd; cat kept.txt")["data"]["stdout"] == "/home/user\nkept\n"
    usable(fault_server, session)


@fault("B10")
def test_40_background_jobs_that_hold_their_output_all_go_on(fault_server: Controller) -> None:
    session = "many jobs"
    bash(fault_server, session, "mkfifo gate")
    paths = []
    for number in range(40):
        data = bash(fault_server, session, f"(read -r _ < gate; echo late {number} && touch done{number}) &")["data"]
        paths.append(data["execution"]["note"].split("what it writes goes to ")[1].split(" and ")[0])
    waiting = "seq 40 > gate; until [ $(ls done* | wc -l) = 40 ]; do sleep 0.05; done 2> /dev/null"
    assert bash(fault_server, session, waiting, timeout=30)["error"] is None
    said = bash(fault_server, session, f"cat {' '.join(paths)} | sort -nk 2")["data"]["stdout"]
    assert said == "".join(f"late {number}\n" for number in range(40))
    usable(fault_server, session)
