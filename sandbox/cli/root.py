"""The tree of commands."""

from typing import Annotated

import typer

from sandbox.cli import bench, demo, doctor, image, mcp, run, serve, sessions
from sandbox.cli.common import HELP_SETTINGS, example

app = typer.Typer(
    name="workbench",
    help="A self-hosted code sandbox for AI agents: a persistent Python kernel and a real shell for each session.",
    epilog=example("workbench demo", "workbench run analysis.py", "workbench bash 'ls -l'"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP_SETTINGS,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from sandbox import __version__  # noqa: PLC0415

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    del version  # the callback has dealt with it


serve.register(app)
run.register(app)
sessions.register(app)
image.register(app)
mcp.register(app)
doctor.register(app)
bench.register(app)
demo.register(app)
