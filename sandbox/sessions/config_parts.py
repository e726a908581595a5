"""The blocks of a session's configuration, in the request's words of the contract. An unknown key is an error."""

from typing import Any, Final, Literal

import msgspec

HELPER_NAMES: Final = (
    "run_composio_tool",
    "invoke_llm",
    "web_search",
    "proxy_execute",
    "upload_local_file",
    "get_mount_file_url",
    "get_mount_file_s3_key",
)
"""Those that leave the sandbox, so that the controller can switch them off."""

SizeName = Literal["standard", "medium", "large", "xlarge"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base: a key that is not known is an error, not a wish that is lost."""


class Names(Part, frozen=True):
    """A choice by name: only those of `enable`, or all but those of `disable`. On the wire a list means `enable`."""

    enable: tuple[str, ...] | None = None
    disable: tuple[str, ...] | None = None


class ToolChoice(Part, frozen=True):
    """Which tools of one toolkit: by slug, or by tag."""

    enable: tuple[str, ...] | None = None
    disable: tuple[str, ...] | None = None
    tags: Names | None = None


class WorkbenchConfig(Part, frozen=True):
    """The sandbox. `auto_offload_threshold`: characters above which a tool's response goes to a file.

    `enable_proxy_execution`, `enable_tool_execution`: whether its code may call `proxy_execute` and
    `run_composio_tool`; None: yes, unless `proxy_execute.enable` is false. `sandbox_size`: its compute tier.
    """

    enable: bool = True
    enable_proxy_execution: bool | None = None
    enable_tool_execution: bool | None = None
    auto_offload_threshold: int | float | None = None
    sandbox_size: SizeName = "standard"


class ProxyConfig(Part, frozen=True):
    """`enable` true: there is a tool for raw requests; false: the helper in the sandbox is off too."""

    enable: bool | None = None


class SearchConfig(Part, frozen=True):
    """Whether there are tools that find other tools."""

    enable: bool = True


class ExecuteConfig(Part, frozen=True):
    """Whether there is a tool that runs several tools at once."""

    enable_multi_execute: bool = True


class ConnectionsConfig(Part, frozen=True):
    """The tools about connections; `callback_url`: where a person is sent after they have connected an account."""

    enable: bool = True
    callback_url: str | None = None
    enable_wait_for_connections: bool = False
    enable_connection_removal: bool = True


class MultiAccountConfig(Part, frozen=True):
    """Several accounts for one toolkit; kept and said again, the tool backend decides."""

    enable: bool = False
    require_explicit_selection: bool = False
    max_accounts_per_toolkit: int | None = None


class PreloadConfig(Part, frozen=True):
    """Tools of toolkits that are listed beside the meta tools: by slug, or all that the session allows."""

    tools: tuple[str, ...] | Literal["all"] = ()


class HelpersConfig(Part, frozen=True):
    """Helpers by name that are switched off."""

    disable: tuple[str, ...] = ()


Free = dict[str, Any]
"""A block that is kept and said again; only its size is bounded."""
