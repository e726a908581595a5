"""`workbench demo`: a real session through the HTTP API, shown step by step."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sandbox.cli.common import KEY_VARIABLE, connect, console_error, example, settings, stderr_console

if TYPE_CHECKING:
    from rich.console import Console

    from sandbox.cli.demo_steps import Step
    from sandbox.client import Client, ToolAnswer
    from sandbox.config import Settings

SESSION: Final = "demo"
SHOWN_LINES: Final = 8
SHOWN_COLUMNS: Final = 110
WIDTH_WITHOUT_TERMINAL: Final = 140


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("workbench demo", "workbench demo --stop"))(demo)


def demo(
    stop: Annotated[bool, typer.Option("--stop", help="End the controller that an earlier demo started.")] = False,
    runtime: Annotated[str | None, typer.Option(help="docker or process. [default: from the settings]")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Allow the process runtime.")] = False,
) -> None:
    """Run a real session through the HTTP API and show it; start a controller first if none answers.

    Exit code 1 when an answer is not what it must be. The controller goes on running afterwards.
    """
    found = settings(runtime=runtime, unsafe=unsafe or None)
    if stop:
        _stop(found)
        return
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    arguments = [*(["--runtime", runtime] if runtime else []), *(["--unsafe"] if unsafe else [])]
    started = _make_ready(found, arguments)
    with connect() as client:
        console.print(f"controller: {found.url} ({'started just now' if started else 'was running'})")
        failed = _play(client, console)
    if failed:
        console_error(f"{failed} of the steps did not give what they must")
        sys.exit(1)
    _say_what_next(found, console)


def _make_ready(found: "Settings", arguments: list[str]) -> bool:
    """Have a controller that is ready. True: it was started here and now."""
    from sandbox import background  # noqa: PLC0415
    from sandbox.cli.image import ensure_image  # noqa: PLC0415
    from sandbox.client import Client  # noqa: PLC0415
    from sandbox.config import ENV_PREFIX, RuntimeName  # noqa: PLC0415

    state = background.State(found.data_dir)
    with Client(found.url, "") as client:  # readiness asks for no key, and there may be none yet
        if client.ready():
            return False
        if state.running_pid() is None and not client.alive():
            if found.runtime is RuntimeName.DOCKER:
                typer.echo(ensure_image(found), err=True)
            _keep_key(found)
            # `--stop` is to leave nothing behind.
            background.start(state, arguments, {f"{ENV_PREFIX}ON_SHUTDOWN": "remove"})
            started = True
        else:
            started = False
        with stderr_console().status("waiting for the controller"):
            background.wait_until_ready(state, client)
    return started


def _keep_key(found: "Settings") -> None:
    """Have the key file before the start: a key that the controller makes is printed, and would land in its log."""
    from sandbox.api.keys import make_key  # noqa: PLC0415
    from sandbox.kept import load_or_make  # noqa: PLC0415

    if not found.api_keys:
        load_or_make(found.key_path, make_key)


def _play(client: "Client", console: "Console") -> int:
    """Run all steps in a new session; give how many went wrong."""
    from sandbox.cli.demo_steps import STEPS  # noqa: PLC0415
    from sandbox.client import RequestRefused  # noqa: PLC0415

    try:
        client.delete_session(SESSION)
    except RequestRefused as error:
        if error.http_status != 404:  # the first demo has no session yet
            raise
    spill = ""
    failed = 0
    began = time.monotonic()
    for number, step in enumerate(STEPS, 1):
        answer = _run(client, console, step, number, spill)
        spill = answer.text("stdout_file_path") or spill
        if wrong := step.wrong(answer):
            failed += 1
            console_error(f"step {number}: {wrong}")
    console.print(f"\n{len(STEPS) - failed} of {len(STEPS)} steps as they must be, {time.monotonic() - began:.1f} s")
    return failed


def _run(client: "Client", console: "Console", step: "Step", number: int, spill: str) -> "ToolAnswer":
    from rich.syntax import Syntax  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    source = step.source.replace("{path}", spill)
    console.print(Text(f"\n{number}. {step.title}", style="bold"))
    console.print(Syntax(source, step.kind, background_color="default", word_wrap=True))
    ask = client.run_code if step.kind == "python" else client.run_bash
    began = time.monotonic()
    with stderr_console().status("running"):
        answer = ask(source, session=SESSION, timeout_s=step.timeout_s)
    console.print(Text(_shown(answer), style="green" if answer.successful else "yellow"), soft_wrap=True)
    console.print(Text(f"{(time.monotonic() - began) * 1000:,.0f} ms", style="dim"))
    return answer


def _shown(answer: "ToolAnswer") -> str:
    """The answer in few lines: output, error, files."""
    text = answer.text("results") or answer.text("stdout")
    lines = text.rstrip().splitlines()
    shown = [line[:SHOWN_COLUMNS] for line in lines[:SHOWN_LINES]]
    if len(lines) > SHOWN_LINES:
        shown.append(f"... {len(lines) - SHOWN_LINES:,} more lines in the answer")
    if answer.error:
        shown.append(f"error: {answer.error}")
    shown += [f"{item['type']}: {item['path']} ({item['size']:,} bytes)" for item in answer.data.get("artifacts") or ()]
    if path := answer.text("stdout_file_path"):
        shown.append(f"whole output: {path}")
    return "\n".join(f"   {line}" for line in shown)


def _say_what_next(found: "Settings", console: "Console") -> None:
    import os  # noqa: PLC0415

    in_environment = KEY_VARIABLE in os.environ or found.api_keys
    key = f"${KEY_VARIABLE}" if in_environment else f"$(cat {found.key_path})"
    base = f"{found.url}/api/v3/tools/execute"
    header = f'-H "x-api-key: {key}" -H "content-type: application/json"'
    from rich.text import Text  # noqa: PLC0415

    lines = (
        "\nTry next:",
        f"curl -s {base}/COMPOSIO_REMOTE_WORKBENCH \\",
        f"  {header} \\",
        f'  -d \'{{"arguments": {{"session_id": "{SESSION}", "code_to_execute": "totals"}}}}\'',
        f"curl -s {base}/COMPOSIO_REMOTE_BASH_TOOL \\",
        f"  {header} \\",
        f'  -d \'{{"arguments": {{"session_id": "{SESSION}", "command": "ls -l"}}}}\'',
        f"API documentation: {found.url}/docs",
        "The controller goes on running; `make stop` (or `workbench demo --stop`) ends it.",
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _stop(found: "Settings") -> None:
    from sandbox import background  # noqa: PLC0415

    pid = background.stop(background.State(found.data_dir))
    typer.echo("no controller of a demo is running" if pid is None else f"controller stopped (pid {pid})")
