"""Which meta tools a session has: its configuration switches them off and on."""

from collections.abc import Mapping
from typing import Any, Final

from sandbox.errors import InvalidRequest
from sandbox.sessions.session import Session

SANDBOX: Final = ("workbench", "enable", True)
SEARCH: Final = ("search", "enable", True)
CONNECTIONS: Final = ("manage_connections", "enable", True)

SWITCHES: Final[dict[str, tuple[str, str, bool]]] = {
    "COMPOSIO_SEARCH_TOOLS": SEARCH,
    "COMPOSIO_GET_TOOL_SCHEMAS": SEARCH,
    "COMPOSIO_MANAGE_CONNECTIONS": CONNECTIONS,
    "COMPOSIO_WAIT_FOR_CONNECTIONS": ("manage_connections", "enable_wait_for_connections", False),
    "COMPOSIO_MULTI_EXECUTE_TOOL": ("execute", "enable_multi_execute", True),
    "COMPOSIO_REMOTE_WORKBENCH": SANDBOX,
    "COMPOSIO_REMOTE_BASH_TOOL": SANDBOX,
    "COMPOSIO_PROXY_EXECUTE": ("proxy_execute", "enable", False),
}
"""By slug: block and key of the configuration, and what holds when it says nothing. In the order of lists."""

UNLISTED: Final = frozenset({"COMPOSIO_CREATE_PLAN"})
"""Tools that can be called and are in no list: newer generations of the contract have them no longer."""


class ToolSwitchedOff(InvalidRequest):
    """The session's configuration switches this tool off; the message names the key."""

    slug, code = "Tool_SwitchedOff", 1111


def switched_off(slug: str, config: Mapping[str, Any]) -> str | None:
    """Give the key of a session's configuration that switches a meta tool off; None when it has the tool."""
    switch = SWITCHES.get(slug)
    if switch is None:
        return None
    block, key, default = switch
    on = (config.get(block) or {}).get(key, default)
    return None if on else f"{block}.{key}"


def check_switched_on(session: Session, slug: str) -> None:
    """Raise `ToolSwitchedOff` for a meta tool that the session has not."""
    key = switched_off(slug, session.config)
    if key is not None:
        raise ToolSwitchedOff(
            f"{slug} is switched off in this session ({key} is false)",
            suggested_fix=f"Set {key} to true in the session's configuration.",
        )
