"""What several commands share: help texts, settings, the connection to the controller, error lines."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sandbox.client import Client
    from sandbox.config import Settings

HELP_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

KEY_VARIABLE: Final = "WORKBENCH_API_KEY"
URL_VARIABLE: Final = "WORKBENCH_URL"
DEFAULT_SESSION: Final = "cli"

UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar=URL_VARIABLE, help="URL of the controller. [default: from the settings]"),
]
SessionOption = Annotated[
    str, typer.Option("--session", "-s", help="Session to run in: an id or any label of your own.")
]


def example(*lines: str) -> str:
    """Build the end of a help text; `\\b` keeps its lines as they are."""
    shown = "\n".join(f"  {line}" for line in lines)
    return f"\b\nExample{'s' if len(lines) > 1 else ''}:\n{shown}"


def console_error(message: str, fix: str | None = None) -> None:
    """Say on standard error what is wrong and what to do about it."""
    typer.secho(f"error: {message}", fg=typer.colors.RED, err=True)
    if fix:
        typer.echo(f"  -> {fix}", err=True)


def stderr_console() -> "Console":
    """A console for progress: standard error, so that standard output stays clean for results."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, highlight=False)


def settings(**overrides: Any) -> "Settings":
    """Read the settings; what is None is left to environment and file.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    from sandbox.config import load_settings  # noqa: PLC0415

    return load_settings(**overrides)


def connect(url: str | None = None) -> "Client":
    """Make a client of the controller that the settings, or `url`, name.

    Raises:
        ConfigurationError: there is no key to send.
    """
    from sandbox.client import Client  # noqa: PLC0415

    found = settings()
    return Client(url or found.url, find_key(found))


def find_key(found: "Settings") -> str:
    """Find the API key: from the environment, the settings, or the file that `serve` wrote. Never from an argument.

    Raises:
        ConfigurationError: there is none, or it cannot be one.
    """
    from sandbox.errors import ConfigurationError  # noqa: PLC0415

    if key := os.environ.get(KEY_VARIABLE):
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError(
                f"{KEY_VARIABLE} has characters that no header of a request can carry",
                suggested_fix="Set it to the key as `workbench serve` made it, or as it is in the settings.",
            )
        return key
    if found.api_keys:
        return found.api_keys[0].get_secret_value()
    try:
        return found.key_path.read_text(encoding="utf-8").strip()
    except OSError:
        raise ConfigurationError(
            f"No API key: {KEY_VARIABLE} is not set and there is no {found.key_path}",
            suggested_fix="Start a controller with `workbench serve` (it makes a key), or see `make demo`.",
        ) from None
