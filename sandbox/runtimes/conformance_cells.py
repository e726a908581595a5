"""Cells and commands with their answers: literal data, the same for every driver."""

from dataclasses import dataclass
from typing import Final

from sandbox.pipe.messages import Ending


@dataclass(frozen=True, slots=True)
class Cell:
    """Python, and what it must answer. `error`: name and message of the exception. `value`: without last newline."""

    code: str
    stdout: str = ""
    stderr: str = ""
    value: str = ""
    error: tuple[str, str] | None = None

    @property
    def ending(self) -> Ending:
        """Completed unless there is an exception."""
        return Ending.COMPLETED if self.error is None else Ending.ERROR


@dataclass(frozen=True, slots=True)
class Command:
    """A bash command, and what it must answer."""

    command: str
    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


CELLS: Final[tuple[Cell, ...]] = (
    Cell("print('hello')", stdout="hello\n"),
    Cell("print('no newline', end='')", stdout="no newline"),
    Cell("print('ünï ☃ 𝄞')", stdout="ünï ☃ 𝄞\n"),
    Cell("1 + 1", value="2"),
    Cell("'text'", value="'text'"),
    Cell("1 + 1;", value=""),
    Cell("None", value=""),
    Cell("", value=""),
    Cell("# only a comment", value=""),
    Cell("number = 41"),
    Cell("number + 1", value="42"),
    Cell("import sys\nprint('bad', file=sys.stderr)", stderr="bad\n"),
    Cell("print('first')\nprint('second')\nnumber", stdout="first\nsecond\n", value="41"),
    Cell("print('before')\n1 / 0", stdout="before\n", error=("ZeroDivisionError", "division by zero")),
    Cell("raise ValueError('said so')", error=("ValueError", "said so")),
    Cell("undefined_name", error=("NameError", "name 'undefined_name' is not defined")),
    Cell("def twice(x):\n    return 2 * x\ntwice(number)", value="82"),
    Cell("import asyncio\nawait asyncio.sleep(0, 'awaited')", value="'awaited'"),
    Cell("import os\nos.system('echo from a child')", stdout="from a child\n", value="0"),
    Cell("!echo shell", stdout="shell\n"),
    Cell("[n * n for n in range(5)]", value="[0, 1, 4, 9, 16]"),
    Cell("os.getcwd() == os.path.expanduser('~')", value="True"),
    Cell("number", value="41"),
)

COMMANDS: Final[tuple[Command, ...]] = (
    Command("echo hello", stdout="hello\n"),
    Command("true"),
    Command("false", exit_code=1),
    Command("exit 7", exit_code=7),
    Command("", exit_code=0),
    Command("# only a comment"),
    Command("echo out; echo err >&2; exit 3", stdout="out\n", stderr="err\n", exit_code=3),
    Command("printf 'no newline'", stdout="no newline"),
    Command("printf 'b\\na\\nc\\n' | sort | tail -n 2", stdout="b\nc\n"),
    Command("cat <<'END'\nfirst $HOME\nsecond\nEND", stdout="first $HOME\nsecond\n"),
    Command("cat", stdout=""),
    Command("x=5; echo $((x * x))", stdout="25\n"),
    Command("ls /no/such", stderr="ls: cannot access '/no/such': No such file or directory\n", exit_code=2),
    Command('[ "$PWD" = "$HOME" ] && echo at home', stdout="at home\n"),
    Command("kill -TERM $$", exit_code=143),
    Command("for n in 1 2 3; do echo $n; done | awk '{ sum += $1 } END { print sum }'", stdout="6\n"),
    Command("export LOST=1"),
    Command('echo "${LOST:-fresh shell}"', stdout="fresh shell\n"),
)
