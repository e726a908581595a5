"""Tools as the catalogue of the contract lists them."""

import functools
from typing import Any, Final

import msgspec

from sandbox.tools.base import MetaTool
from sandbox.tools.catalog import describe
from sandbox.upstreams.base import ToolInfo

VERSION: Final = "00000000_00"
"""There are no versions of tools here; this is what the contract calls the first one."""

META_TOOLKIT: Final = "composio"

_ANSWER_TITLE: Final = "Answer"


class ToolkitRef(msgspec.Struct, frozen=True):
    """The toolkit of a tool."""

    slug: str
    name: str
    logo: str = ""


class Logo(msgspec.Struct, frozen=True):
    """A toolkit's picture, of which there is none."""

    logo: str = ""


class Deprecation(msgspec.Struct, frozen=True, kw_only=True, rename={"display_name": "displayName"}):
    """The same again under older names, for older clients."""

    display_name: str
    toolkit: Logo = Logo()
    version: str = VERSION
    available_versions: tuple[str, ...] = (VERSION,)
    is_deprecated: bool = False


class CatalogItem(msgspec.Struct, frozen=True, kw_only=True):
    """A tool. `input_parameters`, `output_parameters`: JSON schemas of what a call takes and answers."""

    slug: str
    name: str
    description: str
    human_description: str
    input_parameters: dict[str, Any]
    output_parameters: dict[str, Any]
    toolkit: ToolkitRef
    tags: tuple[str, ...]
    deprecated: Deprecation
    scopes: tuple[str, ...] = ()
    scope_requirements: None = None
    no_auth: bool = True
    is_deprecated: bool = False
    version: str = VERSION
    available_versions: tuple[str, ...] = (VERSION,)


@functools.cache
def meta_item(tool: MetaTool) -> CatalogItem:
    """Compose the item of a meta tool, once for each."""
    described = describe(tool)
    return _item(
        ToolInfo(
            slug=described.slug,
            name=described.name,
            description=described.description,
            toolkit=META_TOOLKIT,
            input_schema=described.input_schema,
            output_schema=_answer_schema(described.output_schema),
            tags=described.tags,
        )
    )


def toolkit_item(tool: ToolInfo) -> CatalogItem:
    """Compose the item of a tool of a toolkit."""
    return _item(tool)


def _item(tool: ToolInfo) -> CatalogItem:
    title = tool.slug.title().replace("_", "")
    return CatalogItem(
        slug=tool.slug,
        name=tool.name,
        description=tool.description,
        human_description=tool.description.partition("\n")[0],
        input_parameters=_schema(tool.input_schema, f"{title}Request"),
        output_parameters=_schema(tool.output_schema, f"{title}Response"),
        toolkit=ToolkitRef(tool.toolkit, tool.toolkit),
        tags=tool.tags,
        deprecated=Deprecation(display_name=tool.name),
    )


def _schema(given: dict[str, Any], title: str) -> dict[str, Any]:
    return {"title": title, "type": "object", "properties": {}, "required": [], **given}


def _answer_schema(data: dict[str, Any]) -> dict[str, Any]:
    """Wrap the schema of `data` as the direct road answers it."""
    return {
        "type": "object",
        "title": _ANSWER_TITLE,
        "properties": {
            "data": data,
            "successful": {"type": "boolean", "description": "Whether it succeeded"},
            "error": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "description": "Why not"},
        },
        "required": ["data", "successful"],
    }
