"""`workbench doctor`: see whether this machine can do the job, and what to do where it cannot."""

import sys
from typing import Annotated

import typer

from sandbox.cli.common import example, settings, stderr_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("workbench doctor", "workbench doctor --quick"))(doctor)


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the conformance list.")] = False,
    runtime: Annotated[str | None, typer.Option(help="docker or process. [default: from the settings]")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Allow the process runtime.")] = False,
) -> None:
    """Check engine, image, limits and hardening, and run the conformance list over real sandboxes.

    One line for each check: ok, failed (with what to do) or known (works, with a limit to know about).
    Exit code 1 when something failed. It uses sandboxes of its own and removes them.
    """
    import asyncio  # noqa: PLC0415

    from sandbox.doctor.examine import examine  # noqa: PLC0415
    from sandbox.doctor.finding import Finding, Outcome  # noqa: PLC0415
    from sandbox.logs import configure_logging  # noqa: PLC0415

    found = settings(runtime=runtime, unsafe=unsafe or None)
    configure_logging("error", "console")  # what is below that, the findings say
    counts = dict.fromkeys(Outcome, 0)
    colours = {Outcome.OK: typer.colors.GREEN, Outcome.FAILED: typer.colors.RED, Outcome.KNOWN: typer.colors.YELLOW}
    console = stderr_console()

    with console.status("looking") as status:

        def show(finding: Finding) -> None:
            counts[finding.outcome] += 1
            mark = typer.style(f"{finding.outcome:<6}", fg=colours[finding.outcome])
            words = f": {finding.words}" if finding.words else ""
            typer.echo(f"{mark}  {finding.name}{words}")
            if finding.fix and finding.outcome is not Outcome.OK:
                typer.echo(f"        -> {finding.fix}")

        asyncio.run(examine(found, quick=quick, show=show, begin=status.update))
    typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count))
    sys.exit(1 if counts[Outcome.FAILED] else 0)
