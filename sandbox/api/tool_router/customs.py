"""Tools that a client runs itself: they are named for the session and said again, and never kept here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from sandbox.errors import InvalidRequest

_SLUG_CHARS: Final = 60
_TOOLS_MAX: Final = 200
_KEYS: Final = ("custom_tools", "custom_toolkits")


class _Tool(msgspec.Struct, frozen=True):
    slug: str
    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    extends_toolkit: str | None = None
    preload: bool | None = None


class _Toolkit(msgspec.Struct, frozen=True):
    slug: str
    name: str
    description: str
    tools: tuple[_Tool, ...]
    preload: bool | None = None


class _Customs(msgspec.Struct, frozen=True):
    custom_tools: tuple[_Tool, ...] = ()
    custom_toolkits: tuple[_Toolkit, ...] = ()


class CustomToolItem(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a client. `slug`: its name in the session."""

    slug: str
    original_slug: str
    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | UnsetType = UNSET
    extends_toolkit: str | UnsetType = UNSET
    preload: bool | UnsetType = UNSET


class CustomToolkitItem(msgspec.Struct, frozen=True, kw_only=True):
    """Tools of a client that belong together."""

    slug: str
    name: str
    description: str
    tools: list[CustomToolItem]
    preload: bool | UnsetType = UNSET


class ExperimentalItem(msgspec.Struct, frozen=True, kw_only=True):
    """What is experimental in the contract. There is no prompt: the tools' own descriptions say all."""

    assistive_prompt: None = None
    custom_tools: list[CustomToolItem] | UnsetType = UNSET
    custom_toolkits: list[CustomToolkitItem] | UnsetType = UNSET


def read_customs(experimental: object) -> ExperimentalItem:
    """Name the client's own tools in the block `experimental` of a request.

    Raises:
        InvalidRequest: names the key that is wrong.
    """
    if not isinstance(experimental, Mapping):
        return ExperimentalItem()
    given = {key: experimental[key] for key in _KEYS if experimental.get(key) is not None}
    try:
        customs = msgspec.convert(given, _Customs)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$.")
        raise _wrong(f"experimental.{path.rstrip('`')}".rstrip("."), words) from None
    item = ExperimentalItem(
        custom_tools=[_named(tool, tool.extends_toolkit) for tool in customs.custom_tools] or UNSET,
        custom_toolkits=[_kit(kit) for kit in customs.custom_toolkits] or UNSET,
    )
    _check(list(_slugs(item)))
    return item


def without_customs(experimental: object) -> object:
    """Give the block as it is kept."""
    if not isinstance(experimental, Mapping):
        return experimental
    return {key: value for key, value in experimental.items() if key not in _KEYS}


def _kit(kit: _Toolkit) -> CustomToolkitItem:
    return CustomToolkitItem(
        slug=kit.slug,
        name=kit.name,
        description=kit.description,
        tools=[_named(tool, kit.slug) for tool in kit.tools],
        preload=UNSET if kit.preload is None else kit.preload,
    )


def _named(tool: _Tool, toolkit: str | None) -> CustomToolItem:
    parts = ("LOCAL", toolkit, tool.slug)
    return CustomToolItem(
        slug="_".join(part for part in parts if part).upper(),
        original_slug=tool.slug,
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=UNSET if tool.output_schema is None else tool.output_schema,
        extends_toolkit=UNSET if tool.extends_toolkit is None else tool.extends_toolkit,
        preload=UNSET if tool.preload is None else tool.preload,
    )


def _slugs(item: ExperimentalItem) -> Iterator[str]:
    if not isinstance(item.custom_tools, UnsetType):
        yield from (tool.slug for tool in item.custom_tools)
    if not isinstance(item.custom_toolkits, UnsetType):
        yield from (tool.slug for kit in item.custom_toolkits for tool in kit.tools)


def _check(slugs: list[str]) -> None:
    if len(slugs) > _TOOLS_MAX:
        raise _wrong("experimental", f"has {len(slugs)} tools, more than {_TOOLS_MAX}")
    for slug in slugs:
        if len(slug) > _SLUG_CHARS:
            raise _wrong("experimental", f"{slug[:100]} has more than {_SLUG_CHARS} characters")
    twice = sorted({slug for slug in slugs if slugs.count(slug) > 1})
    if twice:
        raise _wrong("experimental", f"{twice[0]} is there twice")


def _wrong(path: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{path}: {reason}", suggested_fix="See how custom tools are declared in your SDK.")
