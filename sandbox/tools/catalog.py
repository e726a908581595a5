"""What a client reads of each meta tool before it calls it: name, description, schemas, tags."""

import functools
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from sandbox.sessions.session_config import SessionConfig
from sandbox.tools.base import MetaTool
from sandbox.tools.catalog_words import FIELDS, WORDS, Words
from sandbox.tools.exposure import SWITCHES, UNLISTED, switched_off

_PREFIX: Final = "COMPOSIO_"


class ToolItem(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as catalogues list it.

    `input_schema`, `output_schema`: JSON schemas of a call's arguments and of `data` in its answer, without any
    reference. `tags`: hints such as `destructiveHint`, `openWorldHint`, `readOnlyHint`.
    """

    slug: str
    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    tags: tuple[str, ...] = ()


def describe(tool: MetaTool) -> ToolItem:
    """Say what a tool is. Made once for each kind of tool: the item is not to be changed."""
    return _described(type(tool))


def offered(tools: Iterable[MetaTool], config: SessionConfig) -> list[MetaTool]:
    """Give the tools that a session's list has, in the order of the public contract."""
    said = config.as_json()
    order = {slug: place for place, slug in enumerate(SWITCHES)}
    found = [tool for tool in tools if tool.slug not in UNLISTED and switched_off(tool.slug, said) is None]
    return sorted(found, key=lambda tool: order.get(tool.slug, len(order)))


@functools.cache
def _described(kind: type[MetaTool]) -> ToolItem:
    words = WORDS.get(kind.slug) or Words(" ".join((kind.__doc__ or kind.slug).split()))
    return ToolItem(
        slug=kind.slug,
        name=kind.slug.removeprefix(_PREFIX).lower(),
        description=words.description,
        input_schema=_with_words(schema_of(kind.arguments_type), {**FIELDS, **words.fields}),
        output_schema=schema_of(kind.data_type),
        tags=words.tags,
    )


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Give the JSON schema of a struct with every reference replaced by what it refers to."""
    whole = msgspec.json.schema(kind)
    parts: dict[str, Any] = whole.get("$defs", {})
    inlined = _inlined(whole["$ref"], parts, ()) if "$ref" in whole else whole
    return {key: value for key, value in inlined.items() if key != "description"}


def _inlined(node: Any, parts: dict[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(node, str):
        name = node.rsplit("/", 1)[-1]
        if name in inside:
            return {}  # a type that holds itself has no schema without references
        return _inlined(parts[name], parts, (*inside, name))
    if isinstance(node, list):
        return [_inlined(each, parts, inside) if isinstance(each, dict) else each for each in node]
    if "$ref" in node:
        return _inlined(node["$ref"], parts, inside)
    return {key: _inlined(value, parts, inside) if _is_nested(key, value) else value for key, value in node.items()}


def _is_nested(key: str, value: Any) -> bool:
    """Whether schemas may be inside: `default`, `enum` and `required` hold plain values."""
    return isinstance(value, dict | list) and key not in {"default", "enum", "required"}


def _with_words(schema: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    """Put in what each argument is for. Fields without words are accepted from older clients and not shown."""
    shown = {
        name: {**_without_null(field), "description": words[name]}
        for name, field in schema.get("properties", {}).items()
        if name in words
    }
    return {**schema, "properties": shown} if shown else schema


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Leave `null` out of what a model is shown: an argument that it does not need is left out."""
    plain = {key: value for key, value in field.items() if key != "default" or value is not None}
    choices = [choice for choice in plain.get("anyOf", ()) if choice != {"type": "null"}]
    if not choices:
        return plain
    del plain["anyOf"]
    types = [choice.get("type") for choice in choices]
    if types == ["integer", "number"]:
        choices = [{"type": "number"}]
    return {**plain, **choices[0]} if len(choices) == 1 else {**plain, "anyOf": choices}
