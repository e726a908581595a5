"""What models are told of the tools."""

import json

import jsonschema
import msgspec
import pytest

from sandbox.tools.base import MetaTool
from sandbox.tools.bash import BashTool
from sandbox.tools.catalog import describe, schema_of
from sandbox.tools.catalog_words import WORDS
from sandbox.tools.multi_execute import MultiExecuteTool
from sandbox.tools.workbench import WorkbenchTool

KINDS: list[type[MetaTool]] = [WorkbenchTool, BashTool, MultiExecuteTool]


def made(kind: type[MetaTool]) -> MetaTool:
    """A tool as far as its description goes, which is all in its class."""
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_whole_valid_and_say_what_each_argument_is_for(kind: type[MetaTool]) -> None:
    item = describe(made(kind))
    for schema in (item.input_schema, item.output_schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "$ref" not in json.dumps(schema)
        assert "$defs" not in schema
    assert all(field["description"] for field in item.input_schema["properties"].values())
    assert set(item.input_schema["required"]) <= item.input_schema["properties"].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_tool_has_words_of_its_own_and_a_name_without_the_prefix(kind: type[MetaTool]) -> None:
    item = describe(made(kind))
    assert item.slug in WORDS
    assert len(item.description) > 300
    assert item.name == item.slug.removeprefix("COMPOSIO_").lower()
    assert {"destructiveHint", "openWorldHint"} <= set(item.tags)


class Leaf(msgspec.Struct):
    """Holds others of its kind."""

    name: str
    below: "list[Leaf]" = []


class Tree(msgspec.Struct):
    """Refers twice to the same type."""

    left: Leaf
    right: Leaf | None = None
    kind: str = "default"


def test_a_type_that_is_used_twice_or_holds_itself_is_written_out() -> None:
    schema = schema_of(Tree)
    assert schema["properties"]["left"]["properties"]["name"] == {"type": "string"}
    assert schema["properties"]["right"]["anyOf"][0]["properties"]["name"] == {"type": "string"}
    assert schema["properties"]["left"]["properties"]["below"]["items"] == {}
    assert schema["properties"]["kind"]["default"] == "default"
