"""Warnings in answers about a session: what its configuration asks for and does not get here."""

from collections.abc import Iterator
from typing import Final

import msgspec

from sandbox.api.services import Services
from sandbox.gateway.policy import normal_toolkit
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig, read_config

NO_EFFECT: Final = "CONFIG_WITHOUT_EFFECT"
NOT_CONFIGURED: Final = "TOOLKIT_NOT_CONFIGURED"
NO_TOOL: Final = "TOOL_NOT_AVAILABLE"

_SHOWN: Final = 20


class Warned(msgspec.Struct, frozen=True):
    """One advisory: the session works. `code` is stable."""

    code: str
    message: str


async def warnings_of(services: Services, session: Session) -> list[Warned]:
    """Say what a client would be misled about."""
    if not session.config:
        return []
    config = read_config(session.config)
    has_backend = services.directory.has_backend
    found = list(_without_effect(config, has_backend=has_backend))
    if not has_backend:
        found += _unknown_toolkits(config, await services.directory.standings(_open(session)))
    return [*found, *await _missing_preloads(services, session, config)][:_SHOWN]


def _without_effect(config: SessionConfig, *, has_backend: bool) -> Iterator[Warned]:
    if config.auth_configs:
        yield Warned(NO_EFFECT, "auth_configs are kept, but credentials are those of this server's settings.")
    if config.connected_accounts and not has_backend:
        yield Warned(
            NO_EFFECT, "connected_accounts are kept; only a tool backend has accounts, and none is configured."
        )
    if config.multi_account.enable and not has_backend:
        yield Warned(NO_EFFECT, "multi_account is kept; only a tool backend has accounts, and none is configured.")
    if config.instant is not False:
        yield Warned(NO_EFFECT, "instant is kept; nothing is billed by this server.")
    for key in sorted(config.experimental):
        if key != "permissions":
            yield Warned(NO_EFFECT, f"experimental.{key[:100]} is kept and changes nothing here.")


def _unknown_toolkits(config: SessionConfig, known: object) -> Iterator[Warned]:
    named = [*(config.toolkits.enable or () if config.toolkits else ()), *config.tools]
    there = {normal_toolkit(name) for name in known} if isinstance(known, dict) else set()
    for name in dict.fromkeys(named):
        if normal_toolkit(name) not in there:
            yield Warned(
                NOT_CONFIGURED,
                f"Toolkit {name[:100]} is not configured on this server (mcp_servers, proxy_hosts, composio_api_key).",
            )


async def _missing_preloads(services: Services, session: Session, config: SessionConfig) -> list[Warned]:
    if config.preload.tools == "all" or not config.preload.tools:
        return []
    found = await services.directory.find(session, [slug.strip().upper() for slug in config.preload.tools])
    return [Warned(NO_TOOL, f"preload: {why}") for why in found.missing.values()]


def _open(session: Session) -> Session:
    """Give the session without rules: what its rules leave out is configured all the same."""
    return Session(session.id, session.owner, session.name, session.user_id, session.created_at, session.updated_at)
