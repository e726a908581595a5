"""The command of bash: `helper NAME ARGUMENTS`."""

import argparse
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .documents import smart_file_extract
from .files import upload_local_file
from .model import invoke_llm
from .mounts import get_mount_file_s3_key, get_mount_file_url
from .outcome import Refused
from .proxy import METHODS, proxy_execute
from .relay import relay
from .search import web_search
from .tools import run_composio_tool

_LISTING_TIMEOUT_S = 2.0
_DESCRIPTION = "Call a helper. The result goes to standard output, an error to standard error with exit code 1."
_LONG = "An argument of the form @FILE is read from that file, and - from standard input."
_EXAMPLE = """helper run_composio_tool GMAIL_FETCH_EMAILS '{"max_results": 5}' | jq .data"""

Answer = tuple[Any, str]
Command = Callable[[argparse.Namespace], Answer]


def main(arguments: Sequence[str]) -> int:
    """Run the command; give its exit code: 0, 1 for an error, 2 for a command that makes no sense."""
    given = _parser(arguments).parse_args(arguments)
    try:
        result, error = given.call(given)
    except Refused as refusal:
        result, error = {}, str(refusal)
    except KeyboardInterrupt:
        return 130
    with contextlib.suppress(BrokenPipeError):
        if result not in ({}, ""):
            print(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, indent=2))
        sys.stdout.flush()
    if error:
        print(error, file=sys.stderr)
    # Who reads may be gone: what Python still wants to write when it ends would be a second error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1 if error else 0


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command. The gateway is asked what is switched off only when somebody reads the list."""
    parser = argparse.ArgumentParser(
        prog="helper",
        description=_DESCRIPTION,
        epilog=f"{_LONG}\n\nexample: {_EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    allowed = _allowed() if not arguments or arguments[0] in ("-h", "--help") else None
    commands = parser.add_subparsers(metavar="NAME", required=True)
    for name, (describe, line, call) in _COMMANDS.items():
        off = "" if allowed is None or name in allowed or name in _LOCAL else " (switched off in this session)"
        command = commands.add_parser(name, help=line + off, description=f"{line}.", epilog=_LONG)
        describe(command)
        command.set_defaults(call=call)
    return parser


def _allowed() -> list[str] | None:
    """Ask which helpers this session may call; None when nobody answers."""
    socket.setdefaulttimeout(_LISTING_TIMEOUT_S)
    try:
        names, error = relay.call("list_helpers", {})
    except Refused:
        return None
    return names if isinstance(names, list) and not error else None


# --- arguments ------------------------------------------------------------------------------------


def _long(value: str) -> str:
    """Read `@FILE` and `-`.

    Raises:
        Refused: the file cannot be read.
    """
    if value == "-":
        return sys.stdin.read()
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise Refused(f"{value[1:]} cannot be read: {error}") from error


def _json(value: str | None, name: str) -> Any:
    """Read JSON.

    Raises:
        Refused: it is none.
    """
    if value is None:
        return None
    try:
        return json.loads(_long(value))
    except ValueError as error:
        raise Refused(f"{name} is no JSON: {error}") from error


def _tool_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("slug", metavar="SLUG", help="the tool's name")
    command.add_argument("arguments", metavar="JSON", nargs="?", default="{}", help="its arguments, a JSON object")
    command.add_argument("--account", help="which connected account, where there are several")


def _query_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("query", metavar="TEXT")


def _model_arguments(command: argparse.ArgumentParser) -> None:
    _query_arguments(command)
    command.add_argument("--reasoning-effort", metavar="EFFORT", help="low, medium or high")


def _proxy_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("method", metavar="METHOD", help=", ".join(METHODS))
    command.add_argument("endpoint", metavar="ENDPOINT", help="a path of the app's API")
    command.add_argument("toolkit", metavar="TOOLKIT", help="the app, such as github")
    for name in ("query", "headers", "body"):
        command.add_argument(f"--{name}", metavar="JSON")


def _path_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH")


def _path_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", metavar="PATH", nargs="+")


# --- calls ----------------------------------------------------------------------------------------


def _call_tool(given: argparse.Namespace) -> Answer:
    return run_composio_tool(given.slug, _json(given.arguments, "JSON"), account=given.account)


def _call_proxy(given: argparse.Namespace) -> Answer:
    return proxy_execute(
        given.method,
        given.endpoint,
        given.toolkit,
        query_params=_json(given.query, "--query"),
        body=_json(given.body, "--body"),
        headers=_json(given.headers, "--headers"),
    )


_LOCAL = ("smart_file_extract",)
_COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str, Command]] = {
    "run_composio_tool": (_tool_arguments, "run a tool of an app", _call_tool),
    "invoke_llm": (
        _model_arguments,
        "ask a language model",
        lambda given: invoke_llm(_long(given.query), given.reasoning_effort),
    ),
    "proxy_execute": (_proxy_arguments, "send a request to an app's own API", _call_proxy),
    "web_search": (_query_arguments, "search the web", lambda given: web_search(_long(given.query))),
    "upload_local_file": (
        _path_arguments,
        "upload files and get a link; several become one zip",
        lambda given: upload_local_file(*given.paths),
    ),
    "smart_file_extract": (
        _path_argument,
        "get the text of a document or an image",
        lambda given: smart_file_extract(given.path, show_preview=False),
    ),
    "get_mount_file_url": (
        _path_argument,
        "get a link to a file below /mnt/files",
        lambda given: get_mount_file_url(given.path),
    ),
    "get_mount_file_s3_key": (
        _path_argument,
        "get the object store's key of a file below /mnt/files",
        lambda given: get_mount_file_s3_key(given.path),
    ),
}
