"""`workbench mcp`: the tools for programs that start their MCP servers themselves and talk to them by pipes."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from sandbox.cli.common import UrlOption, connect, example, find_key, settings

if TYPE_CHECKING:
    from sandbox.client import Client

NOT_FOUND: Final = 404

_CLIENTS: Final = """

\b
Claude Code:
  claude mcp add workbench -- workbench mcp --session desktop
\b
Claude Desktop (claude_desktop_config.json), Cursor (.cursor/mcp.json):
  {"mcpServers": {"workbench": {"command": "workbench", "args": ["mcp", "--session", "desktop"]}}}
\b
VS Code (.vscode/mcp.json):
  {"servers": {"workbench": {"command": "workbench", "args": ["mcp", "--session", "desktop"]}}}

URL and key are found as by the other commands: in WORKBENCH_URL and WORKBENCH_API_KEY, in the settings, or in the file
that `workbench serve` wrote. Where the program hands down no environment, name them in its "env".
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp", epilog=example("workbench mcp", "workbench mcp --session desktop") + _CLIENTS)(serve_mcp)


def serve_mcp(
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            "-s",
            help="Session to run in: an id or any label of your own. [default: a new one, deleted at the end]",
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Serve the tools to an MCP client over standard input and output, by a controller that runs.

    With --session, variables and files are there again the next time. Standard output carries the protocol only.
    """
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415
    import secrets  # noqa: PLC0415
    import signal  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from sandbox.cli.mcp_relay import relay  # noqa: PLC0415

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # Standard input is read by a thread that nothing but its end can stop: Ctrl-C has to end the process itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    label = session or f"mcp-{secrets.token_hex(8)}"
    key = find_key(settings())
    with connect(url) as client:
        _check(client, label)
        asyncio.run(relay(f"{client.url}/tool_router/{client.segment(label, make=True)}/mcp", key))
        if session is None:
            _delete(client, label)


def _check(client: "Client", session: str) -> None:
    """See that the controller answers and takes the key. A label that it does not know yet is as good as any."""
    from sandbox.client import RequestRefused  # noqa: PLC0415
    from sandbox.sessions.ids import SESSION_PREFIX  # noqa: PLC0415

    try:
        client.session(session)
    except RequestRefused as refused:
        if refused.http_status != NOT_FOUND or session.startswith(SESSION_PREFIX):
            raise


def _delete(client: "Client", session: str) -> None:
    from sandbox.client import RequestRefused  # noqa: PLC0415

    try:
        client.delete_session(session)
    except RequestRefused as refused:
        if refused.http_status != NOT_FOUND:  # no call was made, so there is none
            raise
