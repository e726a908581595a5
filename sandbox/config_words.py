"""What is said of settings that are refused, in the words of somebody who writes TOML or variables."""

import difflib
import re
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

_FIELD: Final = re.compile(r'field "(\w+)"')


def explained(error: ValidationError, known: Iterable[str]) -> str:
    """All problems in one line. Values are left out: they may be secrets. `known`: the settings that there are."""
    names = tuple(known)
    problems = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        words = _words(problem["type"], name, problem["msg"], names)
        problems.append(f"{name}: {words}" if name else words)
    return "; ".join(problems)


def _words(kind: str, name: str, message: str, known: tuple[str, ...]) -> str:
    if kind == "extra_forbidden":
        return "no such setting" + ("" if "." in name else nearest(name, known))
    if kind == "tuple_type":
        return 'has to be a list, as in ["..."]'
    return message.removeprefix("Value error, ")


def nearest(name: str, known: Iterable[str]) -> str:
    """Give what may have been meant, to be put after a name that is wrong; empty when nothing is like it."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (perhaps `{near[0]}`)" if near else ""


def unread(error: SettingsError, prefix: str) -> str:
    """Say which variable holds no JSON; the library's own words name its classes."""
    name = _FIELD.search(str(error))
    return f"{name[1]}: {prefix}{name[1].upper()} has to hold JSON" if name else str(error)
