"""`workbench serve`: run the controller in the foreground."""

import gc
import os
from typing import Annotated

import typer

from sandbox.cli.common import example, settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=example(
            "workbench serve",
            "workbench serve --port 9000 --pool-size 4",
            "workbench serve --runtime process --unsafe   # no isolation: for development",
        )
    )(serve)


def serve(  # noqa: PLR0917 - options of a command, given by name
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port to listen on. [default: 8380]")] = None,
    runtime: Annotated[str | None, typer.Option(help="docker or process. [default: docker]")] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Allow the process runtime, which isolates nothing.")
    ] = False,
    image: Annotated[str | None, typer.Option(help="Image of the sandboxes.")] = None,
    pool_size: Annotated[int | None, typer.Option(help="Booted sandboxes kept ready. [default: 2]")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. [default: info]")] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json. [default: console]")] = None,
) -> None:
    """Run the controller until it is told to stop (Ctrl-C; a second one waits for nothing that runs).

    Options given here win over WORKBENCH_* variables and the settings file; docs/settings.md lists all settings.
    """
    found = settings(
        host=host,
        port=port,
        runtime=runtime,
        unsafe=unsafe or None,
        image=image,
        pool_size=pool_size,
        log_level=log_level,
        log_format=log_format,
    )
    # Nothing of what is imported becomes garbage, and to look for some all the time is a sixth of the import.
    gc.disable()
    from sandbox.app import serve as serve_app  # noqa: PLC0415
    from sandbox.config import unknown_variables  # noqa: PLC0415

    gc.enable()

    for name in unknown_variables(os.environ):
        typer.echo(f"warning: {name} is no setting and has no effect", err=True)
    serve_app(found, lambda words: typer.echo(words, err=True))
