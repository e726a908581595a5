"""`workbench sessions`: list, show, remove, interrupt, restart, helper calls, files."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sandbox.cli.common import HELP_SETTINGS, UrlOption, connect, example

LimitOption = Annotated[int, typer.Option(min=1, max=1000, help="How many, at most.")]
SessionArgument = Annotated[str, typer.Argument(help="Session: its id or its label.")]


_TARGET_CHARS = 60


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(rich_markup_mode=None, context_settings=HELP_SETTINGS)
    group.callback(invoke_without_command=True, epilog=example("workbench sessions", "workbench sessions rm report"))(
        sessions
    )
    group.command("list", epilog=example("workbench sessions list"))(list_sessions)
    group.command("show", epilog=example("workbench sessions show report"))(show)
    group.command("rm", epilog=example("workbench sessions rm report"))(remove)
    group.command("interrupt", epilog=example("workbench sessions interrupt report"))(interrupt)
    group.command("restart", epilog=example("workbench sessions restart report"))(restart)
    group.command("calls", epilog=example("workbench sessions calls report"))(calls)
    group.command("files", epilog=example("workbench sessions files report", "workbench sessions files report data/"))(
        files
    )
    app.add_typer(group, name="sessions", help="See and end the sessions of your API key.")


def sessions(context: typer.Context) -> None:
    """See and end the sessions of your API key. Without a subcommand: list them."""
    if context.invoked_subcommand is None:
        list_sessions()


def list_sessions(url: UrlOption = None) -> None:
    """List all sessions, newest first."""
    with connect(url) as client:
        found = client.sessions()
    if not found:
        typer.echo("no sessions")
        return
    _table([("session", "label", "created", "last used"), *map(_row, found)])


def show(session: SessionArgument, url: UrlOption = None) -> None:
    """Show one session as JSON: its configuration, sandbox, kernel, memory."""
    with connect(url) as client:
        typer.echo(json.dumps(client.session(session), indent=2))


def remove(session: SessionArgument, url: UrlOption = None) -> None:
    """Remove a session with its sandbox: variables and files are gone."""
    with connect(url) as client:
        client.delete_session(session)
    typer.echo(f"{session}: removed")


def interrupt(session: SessionArgument, url: UrlOption = None) -> None:
    """Interrupt whatever runs in a session. Variables and files stay."""
    with connect(url) as client:
        count = client.interrupt(session).get("interrupted", 0)
    typer.echo(f"{session}: {count} interrupted" if count else f"{session}: nothing was running")


def restart(session: SessionArgument, url: UrlOption = None) -> None:
    """Restart a session's kernel: variables are gone, files stay."""
    with connect(url) as client:
        client.restart_kernel(session)
    typer.echo(f"{session}: kernel restarted, variables lost, files kept")


def calls(session: SessionArgument, url: UrlOption = None, limit: LimitOption = 50) -> None:
    """List the helper calls of a session, newest first: what was called, how it ended, how long it took."""
    with connect(url) as client:
        found = client.calls(session, limit=limit)
    if not found:
        typer.echo("no helper calls")
        return
    _table([("started", "helper", "target", "status", "ms"), *map(_call_row, found)])


def files(
    session: SessionArgument,
    prefix: Annotated[str, typer.Argument(help="Beginning of the paths that are listed.")] = "",
    url: UrlOption = None,
) -> None:
    """List the files of a session (/mnt/files): bytes, when they were changed, paths. Starts or wakes its sandbox."""
    none = True
    with connect(url) as client:
        for each in client.files(session, prefix=prefix):
            none = False
            typer.echo(f"{each['size']:>12}  {_when(each['last_modified'])}  {_plain(each['mount_relative_path'])}")
    if none:
        typer.echo(f"no files under /mnt/files/{_plain(prefix)}")


def _plain(text: object) -> str:
    """What code made up must not write to the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _call_row(call: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _when(call["started_at"]),
        str(call["helper"]),
        _plain(call["target"])[:_TARGET_CHARS],
        str(call["status"]),
        f"{call['duration_ms']:.1f}",
    )


def _row(session: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(session["session_id"]),
        str(session.get("label") or "-"),
        _when(session["created_at"]),
        _when(session.get("last_used_at")),
    )


def _when(moment: str | None) -> str:
    """An ISO time in the few characters that a list has room for."""
    return moment[:19].replace("T", " ") if moment else "-"
