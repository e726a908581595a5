"""Arguments against the schema of a tool."""

from typing import Any

import pytest

from sandbox.errors import InvalidArguments
from sandbox.upstreams.mcp_schema import ArgumentCheck

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "timezone": {"type": "string"},
        "days": {"type": "array", "items": {"$ref": "#/$defs/day"}},
    },
    "required": ["timezone"],
    "additionalProperties": False,
    "$defs": {"day": {"type": "integer", "minimum": 1, "maximum": 31}},
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "arguments.timezone: is required"),
        ({"timezone": 3}, "arguments.timezone: 3 is not of type 'string'"),
        ({"timezone": "UTC", "days": [1, 40]}, "arguments.days[1]: 40 is greater than the maximum of 31"),
        ({"timezone": "UTC", "zone": 1}, "arguments.zone: is not known"),
    ],
)
def test_the_error_names_the_field(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        ArgumentCheck("TIME_GET", SCHEMA).check(arguments)
    assert words in caught.value.message
    assert caught.value.errors
    assert caught.value.suggested_fix == "TIME_GET takes: timezone, days."


def test_every_bad_field_is_named() -> None:
    with pytest.raises(InvalidArguments) as caught:
        ArgumentCheck("TIME_GET", SCHEMA).check({"days": ["x"], "odd": 1})
    assert {error.path for error in caught.value.errors} == {
        "arguments.timezone",
        "arguments.days[0]",
        "arguments.odd",
    }


def test_good_arguments_pass() -> None:
    ArgumentCheck("TIME_GET", SCHEMA).check({"timezone": "UTC", "days": [1, 2]})


_TWICE = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "http://127.0.0.1:9/schema.json"}, id="a reference to elsewhere"),
        pytest.param({"$ref": "#"}, id="a reference to itself"),
        pytest.param({"$ref": "#/$defs/d0", "$defs": _TWICE}, id="references that double"),
        pytest.param({"properties": {"a": {"pattern": "^(x+x+)+y$"}}}, id="an expression that runs for ever"),
        pytest.param({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, id="the same for names"),
        pytest.param({"type": "no such type"}, id="no schema"),
        pytest.param({"enum": ["x" * 300_000]}, id="a large schema"),
        pytest.param({"properties": 7}, id="a broken schema"),
    ],
)
def test_a_hostile_schema_checks_nothing_and_ends(schema: dict[str, Any]) -> None:
    ArgumentCheck("BAD_TOOL", schema).check({"a": "x" * 40, "a" * 40 + "!": 1})


def test_a_field_may_be_called_like_a_word_of_the_schema() -> None:
    schema = {"properties": {"pattern": {"type": "string"}, "required": {"type": "string"}}, "required": ["pattern"]}
    with pytest.raises(InvalidArguments, match=r"arguments\.pattern: is required"):
        ArgumentCheck("GREP", schema).check({})
