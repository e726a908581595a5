"""Arguments of a tool against the tool's own JSON schema, before anything is sent. Pure.

The schema comes from a server and is not trusted: references to elsewhere are never followed, regular expressions
(which can run for ever) and comparisons of all items with all are left to the server, and the work is bounded. A
schema that is broken or too much checks nothing: the server checks its arguments itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from sandbox.errors import FieldError, InvalidArguments
from sandbox.limits import KIB

SCHEMA_BYTES_MAX: Final = 256 * KIB
SCHEMA_DEPTH_MAX: Final = 60
REFERENCES_MAX: Final = 2000
"""References that one check follows: nothing else can make more work than schema times arguments."""

ERRORS_MAX: Final = 10
_WORDS: Final = 200
_NAMED: Final = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_VALUES: Final = frozenset({"const", "enum", "default", "examples", "required"})
_LEFT_OUT: Final = frozenset({"pattern", "uniqueItems"})
_CLOSING: Final = frozenset({"patternProperties", "additionalProperties", "unevaluatedProperties"})


class _TooMuch(Exception):
    """The schema cannot be checked within its bounds."""


class ArgumentCheck:
    """The compiled schema of one tool. `slug`: what errors call the tool."""

    def __init__(self, slug: str, schema: Mapping[str, Any]) -> None:
        self._slug = slug
        self._left = 0
        fields = schema.get("properties")
        self._fields = ", ".join(list(fields)[:30]) if isinstance(fields, Mapping) else ""
        self._validator = self._compile(schema)

    @property
    def checks(self) -> bool:
        """Whether the schema could be compiled."""
        return self._validator is not None

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Accept the arguments of a call.

        Raises:
            InvalidArguments: they are not as the schema says; names each field.
        """
        if self._validator is None:
            return
        self._left = REFERENCES_MAX
        errors: dict[FieldError, None] = {}
        try:
            for error in self._validator.iter_errors(arguments):
                errors.update(dict.fromkeys(_field_errors(error)))
                if len(errors) >= ERRORS_MAX:
                    break
        except (_TooMuch, RecursionError, Unresolvable):
            self._validator = None
            return
        if errors:
            raise self._invalid(tuple(errors)[:ERRORS_MAX])

    def _invalid(self, errors: tuple[FieldError, ...]) -> InvalidArguments:
        words = "; ".join(f"{error.path}: {error.reason}" for error in errors)
        fix = f"{self._slug} takes: {self._fields}." if self._fields else f"{self._slug} takes no arguments."
        return InvalidArguments(words, errors=errors, suggested_fix=fix)

    def _compile(self, schema: Mapping[str, Any]) -> Validator | None:
        try:
            if len(msgspec.json.encode(schema)) > SCHEMA_BYTES_MAX:
                return None
            bounded = _bounded(schema, SCHEMA_DEPTH_MAX)
            draft = validator_for(bounded, default=Draft202012Validator)
            draft.check_schema(bounded)
        except (SchemaError, _TooMuch, RecursionError, TypeError, msgspec.MsgspecError):
            return None
        followed = {name: self._counted(draft.VALIDATORS[name]) for name in _REFERENCES if name in draft.VALIDATORS}
        # An empty registry: what is not in the schema itself is not there.
        counting: type[Validator] = extend(draft, followed)  # type: ignore[no-untyped-call]
        return counting(bounded, registry=Registry())

    def _counted(self, follow: Any) -> Any:
        def counted(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self._left -= 1
            if self._left < 0:
                raise _TooMuch
            yield from follow(validator, reference, instance, schema) or ()

        return counted


_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


def _bounded(schema: Any, depth: int) -> Any:
    """Copy a schema without what is left to the server."""
    if depth == 0:
        raise _TooMuch
    if isinstance(schema, list):
        return [_bounded(part, depth - 1) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    left_out = _LEFT_OUT | _CLOSING if "patternProperties" in schema else _LEFT_OUT
    copy: dict[str, Any] = {}
    for key, value in schema.items():
        if key in left_out:
            continue
        if key in _NAMED and isinstance(value, Mapping):
            copy[key] = {name: _bounded(part, depth - 1) for name, part in value.items()}
        else:
            copy[key] = value if key in _VALUES else _bounded(value, depth - 1)
    return copy


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    path = "arguments" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, Mapping):
        for name in cast("list[str]", error.validator_value):
            if name not in error.instance:
                yield FieldError(f"{path}.{name}", "is required")
    elif error.validator == "additionalProperties" and error.validator_value is False:
        known = (error.schema.get("properties") or {}) if isinstance(error.schema, Mapping) else {}
        for name in cast("dict[str, Any]", error.instance):
            if name not in known:
                yield FieldError(f"{path}.{str(name)[:_WORDS]}", "is not known")
    else:
        yield FieldError(path, error.message if len(error.message) <= _WORDS else f"{error.message[:_WORDS]}...")
