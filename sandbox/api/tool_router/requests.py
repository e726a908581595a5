"""Bodies of requests about sessions: which keys they may have, aliases, presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sandbox.api.tool_router.customs import ExperimentalItem, read_customs, without_customs
from sandbox.errors import FieldError, InvalidArguments, InvalidRequest
from sandbox.sessions.config_parts import WorkbenchConfig
from sandbox.sessions.session_config import CONFIG_KEYS, SessionConfig, changed_config, read_config

_CREATE_KEYS: Final = CONFIG_KEYS | {"user_id", "sandbox", "preset"}
_CHANGE_KEYS: Final = CONFIG_KEYS | {"sandbox", "expected_config_version"}
_USER_CHARS: Final = 500
_VERSION_MAX: Final = 2**31 - 1

_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "direct_tools": {
        "search": {"enable": False},
        "execute": {"enable_multi_execute": False},
        "manage_connections": {"enable": False},
        "workbench": {"enable": False},
        "preload": {"tools": "all"},
    }
}
"""Blocks that a preset gives to a request that does not have them. The SDKs send the blocks themselves."""


class CreateSessionRequest(SessionConfig, frozen=True, kw_only=True):
    """A session to make: its user and its configuration. `preset`: `direct_tools`; `sandbox`: means `workbench`."""

    user_id: str
    preset: str | None = None
    sandbox: WorkbenchConfig | None = None


class ChangeSessionRequest(SessionConfig, frozen=True, kw_only=True):
    """What to change; null clears a block. `expected_config_version`: only if it is this version now."""

    expected_config_version: int | None = None
    sandbox: WorkbenchConfig | None = None


class AttachRequest(msgspec.Struct, frozen=True):
    """Tools that the client runs itself, in `custom_tools` and `custom_toolkits`."""

    experimental: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Creation:
    """A session to make. `experimental`: what is said again of the client's own tools."""

    user_id: str
    config: SessionConfig
    experimental: ExperimentalItem


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a configuration. `expected_version` None: of whichever there is."""

    change: dict[str, Any]
    expected_version: int | None


def read_creation(body: Mapping[str, Any]) -> Creation:
    """Read the body of a creation.

    Raises:
        InvalidRequest: names the key that is wrong or unknown.
        InvalidArguments: there is no `user_id`.
    """
    _check_keys(body, _CREATE_KEYS)
    user_id = body.get("user_id")
    if not isinstance(user_id, str) or not 0 < len(user_id) <= _USER_CHARS:
        required = "Required" if user_id is None else f"Expected a string of 1 to {_USER_CHARS} characters"
        raise _invalid("user_id", required)
    given = _preset(body.get("preset")) | _blocks(body)
    experimental = read_customs(given.get("experimental"))
    if "experimental" in given:
        given["experimental"] = without_customs(given["experimental"])
    return Creation(user_id, read_config(changed_config({}, given), at=""), experimental)


def read_change(body: Mapping[str, Any]) -> Change:
    """Read the body of a change; its blocks are read when they meet the configuration that they change.

    Raises:
        InvalidRequest: names the key that is unknown.
        InvalidArguments: `expected_config_version` is no version.
    """
    _check_keys(body, _CHANGE_KEYS)
    expected = body.get("expected_config_version")
    if expected is not None and (isinstance(expected, bool) or not isinstance(expected, int)):
        raise _invalid("expected_config_version", "Expected number")
    if expected is not None and not 0 < expected <= _VERSION_MAX:
        raise _invalid("expected_config_version", "Expected a version, which is over 0")
    change = _blocks(body)
    if "instant" in change and change["instant"] is None:
        raise InvalidRequest("instant: must not be null", suggested_fix="Send false, or leave it out.")
    if "experimental" in change:
        change["experimental"] = without_customs(change["experimental"])
    return Change(change, expected)


def read_attachment(body: Mapping[str, Any]) -> ExperimentalItem:
    """Read the body of an attachment. Raises `InvalidRequest`."""
    _check_keys(body, frozenset({"experimental"}))
    return read_customs(body.get("experimental"))


def _blocks(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the blocks of the configuration, under the names that they have here."""
    if "sandbox" in body and "workbench" in body:
        raise InvalidRequest("sandbox: is another name of workbench", suggested_fix="Send only one of them.")
    blocks = {key: value for key, value in body.items() if key in CONFIG_KEYS}
    if "sandbox" in body:
        blocks["workbench"] = body["sandbox"]
    return blocks


def _preset(name: object) -> dict[str, Any]:
    if name is None:
        return {}
    preset = _PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        raise InvalidRequest(f"preset: there is only {', '.join(_PRESETS)}")
    return dict(preset)


def _check_keys(body: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise InvalidRequest(
            f"{unknown[0][:100]}: is not a key that is known", suggested_fix=f"There are: {', '.join(sorted(known))}."
        )


def _invalid(path: str, reason: str) -> InvalidArguments:
    return InvalidArguments(f'Validation error: {reason} at "{path}"', errors=(FieldError(path, reason),))
