"""From a JSON object to a typed struct, with every bad field named and not only the first."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from sandbox.errors import FieldError, InvalidArguments
from sandbox.limits import TIMEOUT_MIN_S

StructT = TypeVar("StructT", bound=msgspec.Struct)
Check = Callable[[Any], str | None]
"""Looks at a value of the right type: why it cannot be taken, None when it can."""

_SHOWN_BELOW: Final = 1e15
_JSON_WORDS: Final = {"str": "string", "int": "number", "float": "number", "bool": "boolean"}
_TYPE_IN_TICKS: Final = re.compile(r"`([^`]*)`")


def read_arguments(
    arguments: object, wanted: type[StructT], checks: Mapping[str, Check], *, at: str = "arguments."
) -> StructT:
    """Convert a JSON object. Unknown fields are ignored; null stands for an optional field that was left out.

    `checks`: by field, what a value has to pass beyond its type. `at` goes before each field's name in `errors`.

    Raises:
        InvalidArguments: lists every bad field; its message names the first.
    """
    if not isinstance(arguments, Mapping):
        raise invalid([FieldError(at.rstrip(".") or "body", "Expected object")])
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for field in _fields(wanted):
        reason = _read_field(arguments, field, checks.get(field.encode_name), values)
        if reason is not None:
            errors.append(FieldError(f"{at}{field.encode_name}", reason))
    if errors:
        raise invalid(errors)
    return wanted(**values)


@functools.cache
def _fields(wanted: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Give the fields of a struct; msgspec looks its annotations up anew each time it is asked."""
    return msgspec.structs.fields(wanted)


def _read_field(
    arguments: Mapping[str, Any],
    field: msgspec.structs.FieldInfo,
    check: Check | None,
    values: dict[str, Any],
) -> str | None:
    """Put one field into `values`, or say what is wrong with it."""
    given = arguments.get(field.encode_name)
    if given is None:
        return "Required" if field.required else None
    try:
        values[field.name] = value = msgspec.convert(given, field.type)
    except msgspec.ValidationError as error:
        return _TYPE_IN_TICKS.sub(_in_json_words, str(error))
    return check(value) if check else None


def seconds_within(highest_s: float) -> Check:
    """Make a check for a time limit: from 1 to `highest_s` seconds."""

    def check(value: float) -> str | None:
        if TIMEOUT_MIN_S <= value <= highest_s:
            return None
        # A whole number of a body has any number of digits: too many for a float, and for a message.
        got = f"{value:g}" if abs(value) < _SHOWN_BELOW else "a number of many digits"
        return f"Must be between {TIMEOUT_MIN_S} and {highest_s:g} seconds, got {got}"

    return check


def invalid(errors: list[FieldError]) -> InvalidArguments:
    """Make one error of all bad fields; its message names the first, in the words that clients know."""
    first = errors[0]
    path = first.path.removeprefix("arguments.")
    return InvalidArguments(f'Validation error: {first.reason} at "{path}"', errors=tuple(errors))


def _in_json_words(match: re.Match[str]) -> str:
    """Name types as JSON does: the caller may never have seen Python."""
    words = [_JSON_WORDS.get(part, part) for part in match.group(1).split(" | ") if part != "null"]
    return " or ".join(dict.fromkeys(words)) or "null"
