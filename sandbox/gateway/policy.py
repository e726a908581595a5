"""What a session's configuration allows its code to do. Pure: no I/O, no clock.

Every refusal names what forbids the call and what would allow it.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from sandbox.errors import HelperRefused, InvalidArguments, InvalidRequest
from sandbox.sessions.config_parts import Names, ToolChoice
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import SessionConfig, read_config

META_PREFIX: Final = "COMPOSIO_"
SEARCH_TOOLKIT: Final = "composio_search"
"""A toolkit of the hosted backend whose tools share the prefix and are none of the meta tools."""
SLUG_MAX: Final = 200

_SHOWN: Final = 10
_KEPT: Final = 1000


def normal_toolkit(name: str) -> str:
    """Give the one spelling of a toolkit's name: lower case, `_` for `-`."""
    return name.strip().lower().replace("-", "_")


def normal_slug(slug: str) -> str:
    """Give the one spelling of a tool's slug.

    Raises:
        InvalidArguments: it is none.
    """
    plain = slug.strip().upper()
    if not plain or len(plain) > SLUG_MAX or not plain.isprintable() or " " in plain:
        raise InvalidArguments(f"tool_slug: {slug[:50]!r} is no slug of a tool, such as `TIME_GET_CURRENT_TIME`")
    return plain


def is_meta(slug: str) -> bool:
    """Whether a slug, in upper case, is one of the service's own tools and not one of a toolkit."""
    if slug.startswith(f"{SEARCH_TOOLKIT.upper()}_"):
        return slug == f"{SEARCH_TOOLKIT.upper()}_TOOLS"
    return slug.startswith(META_PREFIX) or slug == META_PREFIX.rstrip("_")


def toolkit_of(slug: str, known: Iterable[str]) -> str:
    """Give the toolkit of a slug: the longest known one that it begins with, else its part before the first `_`."""
    lower = slug.lower().replace("-", "_")
    fitting = [name for name in known if lower.startswith(f"{name}_")]
    return max(fitting, key=len) if fitting else lower.partition("_")[0]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Only `enable`, when that is there; none of `disable`. `where`: the key of the configuration that says so."""

    where: str
    enable: frozenset[str] | None = None
    disable: frozenset[str] = frozenset()

    def check(self, name: str, what: str) -> None:
        """Raise `HelperRefused` for a name that is not chosen."""
        if name in self.disable:
            raise _refused(
                f"{what} is switched off in this session ({self.where}.disable)",
                f"Take it out of {self.where}.disable in the session's config.",
            )
        if self.enable is not None and name not in self.enable:
            raise _refused(
                f"{what} is not one that this session allows ({self.where}.enable: {_listed(self.enable)})",
                f"Add it to {self.where}.enable in the session's config.",
            )

    def check_tags(self, tags: Collection[str], what: str) -> None:
        """Raise `HelperRefused` when one of the tags is switched off, or none of those that are wanted is there."""
        off = sorted(self.disable.intersection(tags))
        if off:
            raise _refused(
                f"{what} has the tag {off[0]}, which is switched off in this session ({self.where}.disable)",
                f"Take the tag out of {self.where}.disable in the session's config.",
            )
        if self.enable is not None and self.enable.isdisjoint(tags):
            raise _refused(
                f"{what} has none of the tags that this session allows ({self.where}.enable: {_listed(self.enable)})",
                f"Add one of its tags to {self.where}.enable in the session's config.",
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one session.

    `known`: names of toolkits, for `toolkit_of`. `tags`: of all tools; `tool_tags`: by toolkit, instead of those.
    `keys_off`: helpers that a key of the configuration switches off, with that key. `requests`: whether the agent may
    send raw requests from outside of the sandbox. `accounts`: by toolkit, the only connected accounts that may be used.
    """

    known: frozenset[str]
    toolkits: _Choice = _Choice("toolkits")
    tools: dict[str, _Choice] = field(default_factory=dict)
    tags: _Choice | None = None
    tool_tags: dict[str, _Choice] = field(default_factory=dict)
    sandbox: bool = True
    keys_off: dict[str, str] = field(default_factory=dict)
    requests: bool = True
    accounts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    helpers_off: frozenset[str] = frozenset()

    def check_helper(self, helper: str) -> None:
        """Raise `HelperRefused` when a helper is switched off."""
        if not self.sandbox:
            raise _refused(
                "the sandbox of this session is switched off (workbench.enable)", "Set workbench.enable to true."
            )
        if helper in self.helpers_off:
            raise _refused(
                f"{helper} is switched off in this session (helpers.disable)",
                "Take it out of helpers.disable in the session's config.",
            )
        if (key := self.keys_off.get(helper)) is not None:
            raise _refused(f"{helper} is switched off in this session ({key})", f"Set {key} to true.")

    def check_requests(self) -> None:
        """Raise `HelperRefused` when raw requests are switched off altogether."""
        if not self.requests:
            raise _refused(
                "proxy_execute is switched off in this session (proxy_execute.enable)",
                "Set proxy_execute.enable to true.",
            )

    def account_for(self, slug: str, asked: str | None) -> str | None:
        """Give the connected account that a tool runs with; None: whichever its backend takes.

        Raises:
            HelperRefused: `asked` is not one of those that the session names for the toolkit.
        """
        toolkit = toolkit_of(slug, self.known)
        pinned = self.accounts.get(toolkit)
        if not pinned or asked in pinned:
            return asked
        if asked is None:
            return pinned[0]
        raise _refused(
            f"account {asked[:SLUG_MAX]!r} is not one that this session allows (connected_accounts.{toolkit})",
            f"Add it to connected_accounts.{toolkit} in the session's config.",
        )

    def check_tool(self, slug: str) -> None:
        """Raise `HelperRefused` for a tool that is not allowed. `slug` in upper case. Tags are asked for apart."""
        if is_meta(slug):
            raise _refused(
                f"{slug} is a meta tool: it is for the agent, and not to be called from code or from another tool",
                "Call the tool itself that you need; the agent calls meta tools.",
            )
        toolkit = toolkit_of(slug, self.known)
        self.toolkits.check(toolkit, f"toolkit {toolkit} of {slug}")
        choice = self.tools.get(toolkit)
        if choice is not None:
            choice.check(slug, f"tool {slug}")

    def check_toolkit(self, toolkit: str) -> None:
        """Raise `HelperRefused` for a toolkit that is not allowed."""
        if toolkit == "composio":
            raise _refused("composio is the toolkit of the meta tools, and no API", "Name the toolkit that you mean.")
        self.toolkits.check(toolkit, f"toolkit {toolkit}")

    def wants_tags(self, slug: str) -> bool:
        """Whether the tags of a tool have to be known to say if it is allowed."""
        return self._tags_of(slug) is not None

    def check_tags(self, slug: str, tags: Collection[str] | None) -> None:
        """Raise `HelperRefused` for a tool whose tags are not allowed, or (None) not known."""
        choice = self._tags_of(slug)
        if choice is None:
            return
        if tags is None:
            raise _refused(
                f"the tags of tool {slug} are not known, and this session allows tools by their tags ({choice.where})",
                f"Allow it by name, or take {choice.where} out of the session's config.",
            )
        choice.check_tags(tags, f"tool {slug}")

    def _tags_of(self, slug: str) -> _Choice | None:
        if not self.tool_tags:
            return self.tags
        return self.tool_tags.get(toolkit_of(slug, self.known), self.tags)


class Policies:
    """Gives the policies of sessions. `toolkits`: names that are configured on the server."""

    def __init__(self, toolkits: Iterable[str]) -> None:
        self._known = frozenset({SEARCH_TOOLKIT, *map(normal_toolkit, toolkits)})
        self._open = Policy(self._known)
        self._kept: OrderedDict[tuple[str, int], Policy] = OrderedDict()

    def of(self, session: Session) -> Policy:
        """Give the policy of a session, as its configuration is now.

        Raises:
            HelperRefused: the stored configuration cannot be read: nothing is allowed then.
        """
        if not session.config:
            return self._open
        key = session.id, session.config_version
        policy = self._kept.get(key)
        if policy is None:
            policy = self._kept[key] = self.read(session.config)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return policy

    def read(self, config: object) -> Policy:
        """Make the policy of a configuration. Raises as `of`."""
        try:
            read = read_config(config)
        except InvalidRequest as error:
            raise _refused(
                f"the session's configuration cannot be read ({error.message})", "Make a new session."
            ) from error
        return self._made(read)

    def _made(self, config: SessionConfig) -> Policy:
        toolkits = _choice(config.toolkits, "toolkits", normal_toolkit)
        tools = {normal_toolkit(name): choice for name, choice in config.tools.items()}
        named = (toolkits.enable or frozenset()) | toolkits.disable | tools.keys()
        named |= {normal_toolkit(name) for name in config.connected_accounts}
        return Policy(
            known=self._known | named,
            toolkits=toolkits,
            tools={name: _choice(choice, f"tools.{name}", _upper) for name, choice in tools.items()},
            tags=_choice(config.tags, "tags", str) if config.tags is not None else None,
            tool_tags={
                name: _choice(choice.tags, f"tools.{name}.tags", str)
                for name, choice in tools.items()
                if choice.tags is not None
            },
            sandbox=config.workbench.enable,
            keys_off=_keys_off(config),
            requests=config.proxy_execute.enable is not False,
            accounts={normal_toolkit(name): ids for name, ids in config.connected_accounts.items()},
            helpers_off=frozenset(config.helpers.disable),
        )


def _keys_off(config: SessionConfig) -> dict[str, str]:
    """Give the helpers that a key switches off, each with that key."""
    off = {}
    if config.workbench.enable_tool_execution is False:
        off["run_composio_tool"] = "workbench.enable_tool_execution"
    if config.proxy_execute.enable is False:
        off["proxy_execute"] = "proxy_execute.enable"
    if config.workbench.enable_proxy_execution is False:
        off["proxy_execute"] = "workbench.enable_proxy_execution"
    return off


def _choice(given: Names | ToolChoice | None, where: str, normal: Callable[[str], str]) -> _Choice:
    if given is None:
        return _Choice(where)
    enable = None if given.enable is None else frozenset(map(normal, given.enable))
    return _Choice(where, enable, frozenset(map(normal, given.disable or ())))


def _upper(slug: str) -> str:
    return slug.strip().upper()


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return (", ".join(ordered[:_SHOWN]) or "none") + more


def _refused(message: str, fix: str) -> HelperRefused:
    return HelperRefused(message, suggested_fix=fix)
