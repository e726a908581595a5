"""The promise that every helper keeps: `(result, error)`, whatever happens."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Outcome = TypeVar("Outcome")


class Refused(Exception):
    """What was asked for cannot be done. The words are for the one who asked."""


def never_raises(
    nothing: Callable[[], Any],
) -> Callable[[Callable[Parameters, tuple[Outcome, str]]], Callable[Parameters, tuple[Outcome, str]]]:
    """Make a function answer `(nothing(), words)` where it would raise, also when it is called wrongly.

    What is meant to end the caller (an interrupt, `SystemExit`) passes.
    """

    def decorate(function: Callable[Parameters, tuple[Outcome, str]]) -> Callable[Parameters, tuple[Outcome, str]]:
        @functools.wraps(function)
        def helper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> tuple[Outcome, str]:
            try:
                return function(*args, **kwargs)
            except Refused as refusal:
                return nothing(), str(refusal)
            except Exception as error:  # noqa: BLE001 - the border to user code: a helper never raises
                return nothing(), f"{function.__name__}: {type(error).__name__}: {error}"

        return helper

    return decorate


def text_of(value: object, name: str) -> str:
    """Give a text argument without blanks around it.

    Raises:
        Refused: it is no text, or there is nothing in it.
    """
    if not isinstance(value, str):
        raise Refused(f"{name} must be a str, not {type(value).__name__}")
    if not (text := value.strip()):
        raise Refused(f"{name} is empty")
    return text
