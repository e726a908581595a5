"""`workbench run` and `workbench bash`: run something in a session and show its output as it comes."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sandbox.cli.common import DEFAULT_SESSION, SessionOption, UrlOption, connect, console_error, example
from sandbox.limits import BASH_TIMEOUT_DEFAULT_S, WORKBENCH_TIMEOUT_DEFAULT_S

if TYPE_CHECKING:
    from sandbox.client import Client, ServerEvent

EXIT_FAILED: Final = 1
EXIT_TIMED_OUT: Final = 124
EXIT_NOT_RUN: Final = 125
EXIT_INTERRUPTED: Final = 130
"""As `timeout`, `docker run` and shells have them: a command's own code is never mistaken for one of ours."""


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command(
        epilog=example(
            "workbench run analysis.py",
            "echo 'print(6 * 7)' | workbench run -",
            "workbench run load.py --session report --timeout 120",
        )
    )(run)
    app.command(
        epilog=example("workbench bash 'ls -l /home/user'", "workbench bash 'wc -l data.csv' --session report")
    )(bash)


def _finite(seconds: float) -> float:
    """JSON has no word for the others; how many there may be is the controller's to say."""
    if not math.isfinite(seconds):
        raise typer.BadParameter("has to be a number of seconds")
    return seconds


def run(
    file: Annotated[str, typer.Argument(metavar="FILE.py|-", help="Python file to run; - reads standard input.")],
    session: SessionOption = DEFAULT_SESSION,
    timeout: Annotated[
        float, typer.Option(help="Seconds that the code may take.", callback=_finite)
    ] = WORKBENCH_TIMEOUT_DEFAULT_S,
    url: UrlOption = None,
) -> None:
    """Run Python in a session's kernel. Variables stay for the next call.

    Output is shown as it comes. Exit code 0 when the code completed, 1 when not. Ctrl-C interrupts the code.
    """
    code = _text(sys.stdin.buffer.read(), "standard input") if file == "-" else _read(Path(file))
    with connect(url) as client:
        ended = _Follower(client, session).run({"code": code}, timeout)
    sys.exit(0 if ended.successful else EXIT_FAILED)


def bash(
    command: Annotated[str, typer.Argument(help="Command for bash, quoted.")],
    session: SessionOption = DEFAULT_SESSION,
    timeout: Annotated[
        float, typer.Option(help="Seconds that the command may take.", callback=_finite)
    ] = BASH_TIMEOUT_DEFAULT_S,
    url: UrlOption = None,
) -> None:
    """Run a command in a fresh bash of a session's sandbox.

    Output is shown as it comes. The exit code is the command's own; 124: timed out, 125: it could not run,
    130: interrupted.
    """
    with connect(url) as client:
        ended = _Follower(client, session).run({"command": command}, timeout)
    sys.exit(ended.exit_code)


def _read(path: Path) -> str:
    from sandbox.errors import InvalidRequest  # noqa: PLC0415

    try:
        return _text(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from None


def _text(code: bytes, name: str) -> str:
    from sandbox.errors import InvalidRequest  # noqa: PLC0415

    try:
        return code.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not text in UTF-8") from None


class _Ended:
    """What the last event of an execution says."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.successful = bool(body.get("successful"))
        self.data: Mapping[str, Any] = body.get("data") or {}
        self.execution: Mapping[str, Any] = self.data.get("execution") or {}
        self._body = body
        self._failure: Mapping[str, Any] = body.get("failure") or {}

    @property
    def error(self) -> str | None:
        """Why it failed, in words: the code's own error, else why there was no sandbox."""
        words = self._failure.get("message") or self._body.get("error")
        return str(words) if words else None

    @property
    def fix(self) -> str | None:
        """What to do about it, where that is known."""
        words = self._failure.get("suggested_fix")
        return str(words) if words else None

    @property
    def exit_code(self) -> int:
        """The command's own exit code, else one that says what happened to it."""
        if self.successful:
            return int(self.data.get("exit_code") or 0)
        ending = str(self.execution.get("ending"))
        return {"timed_out": EXIT_TIMED_OUT, "interrupted": EXIT_INTERRUPTED}.get(ending, EXIT_NOT_RUN)


def _say_that_it_waits(words: str) -> None:
    typer.echo(f"\n[{words}]", err=True)


class _Follower:
    """Starts one execution, shows its events, and passes Ctrl-C on."""

    def __init__(self, client: "Client", session: str) -> None:
        self._client = client
        self._session = session
        self._artifacts: dict[str, Mapping[str, Any]] = {}
        self._last_seen = 0
        self._ends_line = True

    def run(self, body: Mapping[str, str], timeout_s: float) -> _Ended:
        execution_id = self._client.start(self._session, body, timeout_s=timeout_s)
        try:
            ended = self._follow(execution_id)
        except KeyboardInterrupt:
            typer.echo("\ninterrupting ... (Ctrl-C again to leave it running)", err=True)
            self._client.interrupt_execution(execution_id)
            ended = self._follow(execution_id)
        except BrokenPipeError:
            # The reader of our output left (`workbench run x.py | head`): as a local program, this one ends too.
            self._client.interrupt_execution(execution_id)
            raise
        self._finish(ended)
        return ended

    def _follow(self, execution_id: str) -> _Ended:
        for event in self._client.follow(execution_id, self._last_seen, waits=_say_that_it_waits):
            self._last_seen = max(self._last_seen, event.id)
            if event.name == "ended":
                return _Ended(event.data)
            self._show(event)
        raise AssertionError("a followed execution ends with `ended`")

    def _show(self, event: "ServerEvent") -> None:
        if event.name == "output":
            self._write(str(event.data["stream"]), str(event.data["text"]))
        elif event.name == "artifact":
            self._artifacts[str(event.data["path"])] = event.data
        elif event.name == "output_cut":
            typer.echo("\n[live output ends here; the whole of it is in the sandbox]", err=True)
        elif event.name == "action":
            why, action = (str(event.data[name]).replace("_", " ") for name in ("why", "action"))
            typer.echo(f"\n[{why}]" if why == action else f"\n[{why}: {action}]", err=True)

    def _write(self, stream: str, text: str) -> None:
        target = sys.stderr if stream == "stderr" else sys.stdout
        target.write(text)
        target.flush()
        if target is sys.stdout and text:
            self._ends_line = text.endswith("\n")

    def _finish(self, ended: _Ended) -> None:
        if not self._ends_line and sys.stdout.isatty():
            sys.stdout.write("\n")
        for name in ("recreated", "note"):
            if note := ended.execution.get(name):
                typer.echo(f"note: {note}", err=True)
        for artifact in self._artifacts.values():
            typer.echo(f"artifact: {artifact['path']} ({artifact['type']}, {artifact['size']} bytes)", err=True)
        names = ("results_file_path", "stdout_file_path", "stderr_file_path")
        for path in sorted({str(ended.data[name]) for name in names if name in ended.data}):
            typer.echo(f"whole output: {path}", err=True)
        if ended.execution.get("ending") == "error" and ended.data.get("error"):
            typer.echo(ended.data["error"], err=True)
        elif ended.error:
            console_error(ended.error, ended.fix)
