"""The configuration of a session as answers have it: the contract spells it otherwise than requests do; both are in."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sandbox.sessions.config_parts import Free, Names, ToolChoice
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig, read_config

NOBODY = "default"
"""The user of a session that was made without one."""


class NamesItem(msgspec.Struct, frozen=True, kw_only=True):
    """A choice by name."""

    enabled: tuple[str, ...] | UnsetType = UNSET
    disabled: tuple[str, ...] | UnsetType = UNSET
    enable: tuple[str, ...] | UnsetType = UNSET
    disable: tuple[str, ...] | UnsetType = UNSET


class ToolChoiceItem(NamesItem, frozen=True, kw_only=True):
    """The choice among the tools of one toolkit."""

    tags: NamesItem | UnsetType = UNSET


class Enable(msgspec.Struct, frozen=True):
    """A switch."""

    enable: bool


class ExecuteItem(msgspec.Struct, frozen=True):
    """Whether there is the tool that runs several."""

    enable_multi_execute: bool


class PreloadItem(msgspec.Struct, frozen=True):
    """Slugs, or "all"."""

    tools: tuple[str, ...] | str


class ConnectionsItem(msgspec.Struct, frozen=True, kw_only=True):
    """The tools about connections."""

    enabled: bool
    enable: bool
    enable_wait_for_connections: bool
    enable_connection_removal: bool
    callback_url: str | UnsetType = UNSET


class WorkbenchItem(msgspec.Struct, frozen=True, kw_only=True):
    """The sandbox."""

    enable: bool
    enabled: bool
    proxy_execution_enabled: bool
    enable_proxy_execution: bool
    tool_execution_enabled: bool
    enable_tool_execution: bool
    sandbox_size: str
    auto_offload_threshold: int | float | UnsetType = UNSET


class MultiAccountItem(msgspec.Struct, frozen=True, kw_only=True):
    """Several accounts for one toolkit."""

    enable: bool
    require_explicit_selection: bool
    max_accounts_per_toolkit: int | UnsetType = UNSET


class ConfigItem(msgspec.Struct, frozen=True, kw_only=True):
    """The whole. What was not said, and has no default, is left out."""

    user_id: str
    instant: Free | bool
    execute: ExecuteItem
    search: Enable
    preload: PreloadItem
    manage_connections: ConnectionsItem
    workbench: WorkbenchItem
    multi_account: MultiAccountItem
    toolkits: NamesItem | UnsetType = UNSET
    tools: dict[str, ToolChoiceItem] | UnsetType = UNSET
    tags: NamesItem | UnsetType = UNSET
    auth_configs: dict[str, str] | UnsetType = UNSET
    connected_accounts: dict[str, tuple[str, ...]] | UnsetType = UNSET
    proxy_execute: Enable | UnsetType = UNSET
    helpers: dict[str, Any] | UnsetType = UNSET
    experimental: Free | UnsetType = UNSET


def config_item(session: Session, config: object) -> ConfigItem:
    """Compose what the wire says of a configuration that a session has or had."""
    read = read_config(config)
    return ConfigItem(
        user_id=session.user_id or NOBODY,
        instant=_instant(read.instant),
        execute=ExecuteItem(read.execute.enable_multi_execute),
        search=Enable(read.search.enable),
        preload=PreloadItem(read.preload.tools),
        manage_connections=_connections(read),
        workbench=_workbench(read),
        multi_account=MultiAccountItem(
            enable=read.multi_account.enable,
            require_explicit_selection=read.multi_account.require_explicit_selection,
            max_accounts_per_toolkit=_or_unset(read.multi_account.max_accounts_per_toolkit),
        ),
        toolkits=_names(read.toolkits),
        tools={name: _choice(choice) for name, choice in read.tools.items()} if read.tools else UNSET,
        tags=_names(read.tags),
        auth_configs=read.auth_configs or UNSET,
        connected_accounts=read.connected_accounts or UNSET,
        proxy_execute=Enable(read.proxy_execute.enable) if read.proxy_execute.enable is not None else UNSET,
        helpers={"disable": read.helpers.disable} if read.helpers.disable else UNSET,
        experimental=read.experimental or UNSET,
    )


def _instant(given: Free | bool) -> Free | bool:
    shown = {"return_instant_charge": False, "return_prices_in_search": False}
    return {**shown, **given} if isinstance(given, dict) else given


def _connections(config: SessionConfig) -> ConnectionsItem:
    given = config.manage_connections
    return ConnectionsItem(
        enabled=given.enable,
        enable=given.enable,
        enable_wait_for_connections=given.enable_wait_for_connections,
        enable_connection_removal=given.enable_connection_removal,
        callback_url=_or_unset(given.callback_url),
    )


def _workbench(config: SessionConfig) -> WorkbenchItem:
    given = config.workbench
    proxy = given.enable_proxy_execution is not False and config.proxy_execute.enable is not False
    tools = given.enable_tool_execution is not False
    return WorkbenchItem(
        enable=given.enable,
        enabled=given.enable,
        proxy_execution_enabled=proxy,
        enable_proxy_execution=proxy,
        tool_execution_enabled=tools,
        enable_tool_execution=tools,
        sandbox_size=given.sandbox_size,
        auto_offload_threshold=_or_unset(given.auto_offload_threshold),
    )


def _names(given: Names | None) -> NamesItem | UnsetType:
    return UNSET if given is None else NamesItem(**_spelled(given))


def _choice(given: ToolChoice) -> ToolChoiceItem:
    return ToolChoiceItem(**_spelled(given), tags=_names(given.tags))


def _spelled(given: Names | ToolChoice) -> dict[str, Any]:
    enable, disable = _or_unset(given.enable), _or_unset(given.disable)
    return {"enable": enable, "enabled": enable, "disable": disable, "disabled": disable}


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
