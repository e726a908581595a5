"""Ties tests to the lines of `tests/faults/FAULTS.md`, and what those tests ask of a session."""

import secrets
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tests.support.controller import Controller

_Test = TypeVar("_Test", bound=Callable[..., Any])
ATTRIBUTE: Final = "fault_lines"
PLANTED: Final = f"planted{secrets.token_hex(8)}"
"""A secret in the environment of the fault tests' controller."""


def fault(*lines: str) -> Callable[[_Test], _Test]:
    """Say which lines of the list a test proves."""

    def name(test: _Test) -> _Test:
        setattr(test, ATTRIBUTE, lines)
        return test

    return name


def python(server: Controller, session: str, code: str, **arguments: Any) -> dict[str, Any]:
    """Run Python; the whole answer."""
    return server.run(session, code_to_execute=code, **arguments)


def bash(server: Controller, session: str, command: str, **arguments: Any) -> dict[str, Any]:
    """Run a command; the whole answer."""
    return server.run(session, command=command, **arguments)


def usable(server: Controller, session: str) -> None:
    """Both tools answer the next request, and rightly."""
    answer = python(server, session, "print('still'); 6 * 7", timeout=30)
    assert (answer["error"], answer["data"]["results"]) == (None, "still\n42"), answer
    assert bash(server, session, "echo $((6 * 7))", timeout=30)["data"]["stdout"] == "42\n"


def ending(answer: dict[str, Any]) -> tuple[str, str, str, str]:
    """Give ending, action, and what became of variables and files."""
    execution = answer["data"]["execution"]
    return execution["ending"], execution["action"], execution["variables"], execution["files"]
