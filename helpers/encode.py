"""Arguments as JSON, and words for what is not JSON in them."""

import json
from typing import Any

from .outcome import Refused

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DEPTH_MAX = 100
_PLAIN = (str, bool, int, type(None))


def encoded(arguments: dict[str, Any]) -> bytes:
    """Give the arguments as UTF-8 JSON on one line.

    Raises:
        Refused: something in them is no JSON; the words say where and what.
    """
    try:
        return _encoder.encode(arguments).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(_why(arguments) or f"the arguments are no JSON: {error}") from error


def _why(arguments: dict[str, Any]) -> str | None:
    """Find the first value that is no JSON."""
    for name, value in arguments.items():
        if (why := _flaw(value, name, 0)) is not None:
            return why
    return None


def _flaw(value: object, where: str, depth: int) -> str | None:
    """Say what is wrong with a value or with something in it; None: nothing."""
    if depth > _DEPTH_MAX:
        return f"{where[:80]}... is nested deeper than {_DEPTH_MAX} levels, or contains itself"
    if isinstance(value, str):
        return None if _is_unicode(value) else f"{where} is no valid Unicode text (a lone surrogate)"
    if isinstance(value, float):
        return f"{where} is {value}, which JSON does not have" if value - value != 0 else None
    if isinstance(value, dict):
        return _flaw_in_dict(value, where, depth)
    if isinstance(value, (list, tuple)):
        flaws = (_flaw(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value))
        return next((flaw for flaw in flaws if flaw), None)
    return (
        None if isinstance(value, _PLAIN) else f"{where} is a {_type_name(value)}, which JSON does not have: convert it"
    )


def _flaw_in_dict(value: dict[Any, Any], where: str, depth: int) -> str | None:
    for key, item in value.items():
        if not isinstance(key, (*_PLAIN, float)):
            return f"{where} has a key of type {_type_name(key)}: keys must be text"
        if flaw := _flaw(key, f"a key of {where}", depth) or _flaw(item, f"{where}[{key!r}]", depth + 1):
            return flaw
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
