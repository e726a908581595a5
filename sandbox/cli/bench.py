"""`workbench bench`: how fast it is, beside a raw kernel and a bare `docker exec` in the same run."""

from pathlib import Path
from typing import Annotated

import typer

from sandbox.cli.common import example, settings, stderr_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example("workbench bench", "workbench bench --quick", "workbench bench --rounds 9 --json bench.json")
    )(bench)


def bench(
    rounds: Annotated[int | None, typer.Option(min=1, help="Interleaved rounds. [default: 5, quick: 2]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="About half a minute, with fewer samples.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures to this file.")] = None,
    runtime: Annotated[str | None, typer.Option(help="docker or process. [default: from the settings]")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Allow the process runtime.")] = False,
) -> None:
    """Measure answers, starts, output and memory against raw references, interleaved in one run.

    It starts a controller of its own on a free port, with an installation of its own, and removes all of it.
    """
    found = settings(runtime=runtime, unsafe=unsafe or None)
    from sandbox.engine_client import need_image  # noqa: PLC0415

    need_image(found)
    from sandbox.bench.plan import Plan, run_bench  # noqa: PLC0415
    from sandbox.bench.report import as_json, as_table  # noqa: PLC0415

    plan = Plan.quick(rounds) if quick else Plan.full(rounds)
    with stderr_console().status("starting") as status:
        report = run_bench(found, plan, begin=status.update)
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    console.print(as_table(report))
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if json_file is not None:
        json_file.write_bytes(as_json(report))
        typer.echo(f"written: {json_file}", err=True)
