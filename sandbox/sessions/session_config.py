"""The configuration of a session: typed, in the request's words of the contract; how it is read and changed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sandbox.errors import InvalidRequest
from sandbox.sessions.config_parts import (
    HELPER_NAMES,
    ConnectionsConfig,
    ExecuteConfig,
    Free,
    HelpersConfig,
    MultiAccountConfig,
    Names,
    Part,
    PreloadConfig,
    ProxyConfig,
    SearchConfig,
    ToolChoice,
    WorkbenchConfig,
)

_NAMES_MAX: Final = 2000
_NAME_CHARS: Final = 200
_URL_CHARS: Final = 2000
_FREE_BYTES: Final = 256 * 1024
_ACCOUNTS: Final = range(2, 11)
_MERGED: Final = frozenset({"manage_connections", "workbench", "multi_account", "experimental"})
"""Blocks that a change merges by subfield; it replaces all others."""

_AT: Final = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`")

_REFUSED: Final = {"require_approval": "cannot be kept: nobody is asked here before a call; use `disable`"}
"""A rule that cannot be kept is refused, rather than taken and broken."""

_OPEN: Final = frozenset({"allow_all", "always_allow"})

Json: TypeAlias = Mapping[str, Any]
_Problem: TypeAlias = tuple[str, str]


class SessionConfig(Part, frozen=True):
    """What a session has and what its code may do; nothing in it: everything that is configured on the server.

    `auth_configs`, `connected_accounts`: by toolkit. `instant` and `experimental` are kept and said again.
    """

    toolkits: Names | None = None
    tools: dict[str, ToolChoice] = msgspec.field(default_factory=dict)
    tags: Names | None = None
    auth_configs: dict[str, str] = msgspec.field(default_factory=dict)
    connected_accounts: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    workbench: WorkbenchConfig = WorkbenchConfig()
    proxy_execute: ProxyConfig = ProxyConfig()
    search: SearchConfig = SearchConfig()
    execute: ExecuteConfig = ExecuteConfig()
    manage_connections: ConnectionsConfig = ConnectionsConfig()
    multi_account: MultiAccountConfig = MultiAccountConfig()
    preload: PreloadConfig = PreloadConfig()
    helpers: HelpersConfig = HelpersConfig()
    instant: Free | Literal[False] = False
    experimental: Free = msgspec.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the JSON object that `read_config` takes, with what is said in it and no more."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


CONFIG_KEYS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(SessionConfig))


def read_config(given: object, *, at: str = "config") -> SessionConfig:
    """Read a configuration. `at` goes before each key in errors.

    Raises:
        InvalidRequest: names the key that is wrong.
    """
    if not isinstance(given, Mapping):
        raise _wrong(at or "body", "has to be an object")
    try:
        config = msgspec.convert(_plain(given), SessionConfig)
    except msgspec.ValidationError as error:
        raise _not_valid(str(error), at) from None
    for path, reason in _problems(config):
        raise _wrong(_joined(at, path), reason)
    return config


def changed_config(old: Json, change: Json) -> dict[str, Any]:
    """Give the object of a configuration after a change: what it names is replaced, null clears.

    Of `manage_connections`, `workbench`, `multi_account` and `experimental` only the subfields that it names are. Both
    are objects that `read_config` takes; what comes out has to be read by it.
    """
    result = dict(old)
    for key, value in change.items():
        if key in _MERGED and isinstance(value, Mapping) and isinstance(result.get(key, {}), Mapping):
            merged = {**result.get(key, {}), **value}
            result[key] = {name: part for name, part in merged.items() if part is not None}
        else:
            result[key] = value
    return {key: value for key, value in result.items() if value is not None}


def _plain(given: Json) -> dict[str, Any]:
    """Write lists and single accounts as the objects that they stand for; null is a key that was left out."""
    plain = {key: value for key, value in given.items() if value is not None}
    for name in ("toolkits", "tags"):
        if name in plain:
            plain[name] = _enabled(plain[name])
    for name, normal in (("tools", _choice), ("connected_accounts", _accounts)):
        value = plain.get(name)
        if isinstance(value, Mapping):
            plain[name] = {key: normal(each) for key, each in value.items()}
    connections = plain.get("manage_connections")
    if isinstance(connections, Mapping):
        plain["manage_connections"] = {key: value for key, value in connections.items() if value is not None}
    return plain


def _choice(value: object) -> object:
    value = _enabled(value)
    if isinstance(value, Mapping) and "tags" in value:
        return {**value, "tags": _enabled(value["tags"])}
    return value


def _accounts(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _enabled(value: object) -> object:
    return {"enable": value} if isinstance(value, list) else value


def _problems(config: SessionConfig) -> Iterator[_Problem]:
    """Give what is wrong beyond types, with the key of each."""
    yield from _of_choice(config.toolkits, "toolkits")
    yield from _of_choice(config.tags, "tags")
    for name in ("tools", "auth_configs", "connected_accounts"):
        if len(getattr(config, name)) > _NAMES_MAX:
            yield name, f"has more than {_NAMES_MAX} toolkits"
    for toolkit, choice in config.tools.items():
        yield from _of_choice(choice, f"tools.{toolkit[:_NAME_CHARS]}")
        yield from _of_choice(choice.tags, f"tools.{toolkit[:_NAME_CHARS]}.tags")
    for toolkit, name in config.auth_configs.items():
        yield from _of_names((name,), f"auth_configs.{toolkit[:_NAME_CHARS]}")
    for toolkit, names in config.connected_accounts.items():
        yield from _of_names(names, f"connected_accounts.{toolkit[:_NAME_CHARS]}")
    if config.preload.tools != "all":
        yield from _of_names(config.preload.tools, "preload.tools")
    yield from _of_sandbox(config)
    yield from _of_connections(config)
    yield from _of_permissions(config.experimental.get("permissions"))
    for name in ("instant", "experimental"):
        if len(msgspec.json.encode(getattr(config, name))) > _FREE_BYTES:
            yield name, f"has more than {_FREE_BYTES} bytes"


def _of_sandbox(config: SessionConfig) -> Iterator[_Problem]:
    threshold = config.workbench.auto_offload_threshold
    if threshold is not None and threshold <= 0:
        yield "workbench.auto_offload_threshold", "has to be over 0"
    if config.proxy_execute.enable is False and config.workbench.enable_proxy_execution:
        yield "proxy_execute.enable", "is false, and workbench.enable_proxy_execution is true"
    for name in config.helpers.disable:
        if name not in HELPER_NAMES:
            yield "helpers.disable", f"{name[:_NAME_CHARS]!r} is no helper; there are {', '.join(HELPER_NAMES)}"


def _of_connections(config: SessionConfig) -> Iterator[_Problem]:
    if len(config.manage_connections.callback_url or "") > _URL_CHARS:
        yield "manage_connections.callback_url", f"has more than {_URL_CHARS} characters"
    accounts = config.multi_account.max_accounts_per_toolkit
    if accounts is not None and accounts not in _ACCOUNTS:
        yield (
            "multi_account.max_accounts_per_toolkit",
            f"has to be from {_ACCOUNTS[0]} to {_ACCOUNTS[-1]}, got {accounts}",
        )


def _of_permissions(given: object) -> Iterator[_Problem]:
    """Refuse rules by which somebody would have to be asked."""
    if given is None:
        return
    overrides = given.get("overrides") or {} if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(overrides, Mapping):
        yield "experimental.permissions", "has to be an object"
    elif not _OPEN.issuperset({str(given.get("default", "allow_all")), *map(str, overrides.values())}):
        yield "experimental.permissions", _REFUSED["require_approval"]


def _of_choice(choice: Names | ToolChoice | None, path: str) -> Iterator[_Problem]:
    if choice is None:
        return
    if choice.enable is not None and choice.disable is not None:
        yield path, "may have `enable` or `disable`, not both"
    yield from _of_names(choice.enable or choice.disable or (), path)


def _of_names(names: tuple[str, ...], path: str) -> Iterator[_Problem]:
    if len(names) > _NAMES_MAX:
        yield path, f"has more than {_NAMES_MAX} names"
    elif not all(0 < len(name) <= _NAME_CHARS for name in names):
        yield path, "has a name that is empty or too long"


def _not_valid(words: str, at: str) -> InvalidRequest:
    found = _AT.search(words)
    path = found.group(1).replace("[...]", "") if found else ""
    reason = _AT.sub("", words)
    unknown = _UNKNOWN.search(reason)
    if unknown:
        key = unknown.group(1)
        path, reason = f"{path}.{key}".strip("."), _REFUSED.get(key, "is not a key that is known")
    return _wrong(_joined(at, path), reason)


def _joined(at: str, path: str) -> str:
    return ".".join(part for part in (at, path) if part)


def _wrong(path: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{path}: {reason}", suggested_fix="See the keys of `config` in the documentation (/docs).")
