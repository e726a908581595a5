"""Whether a toolkit can be used now, and what to do when not. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from sandbox.config_upstreams import ProxyHost
from sandbox.upstreams.base import ToolkitInfo


class Kind(StrEnum):
    """How a toolkit is reached: an MCP server has tools, an API of `proxy_hosts` is reached by `proxy_execute`."""

    MCP = "mcp"
    PROXY = "proxy"


class State(StrEnum):
    """In the words of the public contract: `initiated` is one that is on its way."""

    ACTIVE = "active"
    INITIATED = "initiated"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a toolkit stands. `words`: for people; `fix`: what to do, None when there is nothing; `tools`: how many."""

    toolkit: str
    kind: Kind
    state: State
    words: str
    fix: str | None = None
    tools: int | None = None

    @property
    def active(self) -> bool:
        """Whether it can be used."""
        return self.state is State.ACTIVE


def of_server(kit: ToolkitInfo) -> Standing:
    """Say how an MCP server stands."""
    if kit.healthy:
        words = f"Connected: the MCP server {kit.slug} is there and has {kit.tools or 0} tools."
        return Standing(kit.slug, Kind.MCP, State.ACTIVE, words, tools=kit.tools)
    if kit.trouble is None:
        words = f"The MCP server {kit.slug} is still starting."
        again = "Ask again in a few seconds; nothing has to be done for it."
        return Standing(kit.slug, Kind.MCP, State.INITIATED, words, again, kit.tools)
    words = f"The MCP server {kit.slug} is not there: {kit.trouble}"
    fix = (
        f"Check `[mcp_servers.{kit.slug}]` in the server's settings (or WORKBENCH_MCP_SERVERS): its `command` and "
        "`env`, or its `url` and `headers`. It is tried again by itself."
    )
    return Standing(kit.slug, Kind.MCP, State.FAILED, words, fix, kit.tools)


def of_host(toolkit: str, host: ProxyHost) -> Standing:
    """Say how an API stands: it is not asked, for that would cost a request to it."""
    credential = "with its credential" if host.credential is not None else "without a credential"
    words = f"Configured {credential}: proxy_execute reaches {host.base_url} as toolkit {toolkit}."
    return Standing(toolkit, Kind.PROXY, State.ACTIVE, words)


def how_to_add(toolkit: str) -> str:
    """Say which setting would make a toolkit of this name, with an example."""
    return (
        f"Who runs this server adds it to its settings: an MCP server as `[mcp_servers.{toolkit}]` with "
        f'`command = ["program", "argument"]` or `url = "https://host/mcp"` (WORKBENCH_MCP_SERVERS), or an API as '
        f'`[proxy_hosts.{toolkit}]` with `base_url = "https://host"` and `credential = "Bearer ..."` '
        "(WORKBENCH_PROXY_HOSTS), or a Composio-compatible backend as `composio_api_key` (WORKBENCH_COMPOSIO_API_KEY)."
    )


def near(name: str, known: Iterable[str]) -> list[str]:
    """Give the known names that are most like one that is not known."""
    return get_close_matches(name, list(known), n=3, cutoff=0.6)
