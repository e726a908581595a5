"""The directory of what a session can use: the tools and toolkits that are configured here, searched and described.

A backend that has too many tools to list is not in it; those who ask the directory ask the backend beside it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sandbox.config_upstreams import ProxyHost
from sandbox.errors import HelperRefused, UpstreamError, WorkbenchError
from sandbox.gateway.policy import META_PREFIX, Policies, Policy, normal_toolkit
from sandbox.gateway.standing import Standing, near, of_host, of_server
from sandbox.gateway.tool_index import Entry, Hit, ToolIndex
from sandbox.sessions.session import Session
from sandbox.upstreams.base import ToolInfo, Tools

STARTING_S: Final = 5.0
"""Seconds for which a list waits for a server that is still starting; one that failed is not waited for."""

CONNECT_S: Final = 10.0
"""Seconds for which a look at connections waits for a server that is not there."""


_NEAR_MAX: Final = 5
_LOOKED_AT: Final = 30


@dataclass(frozen=True, slots=True)
class UseCase:
    """What somebody wants to do. `hints`: words of what they know already; `toolkits`: only those, when named."""

    text: str
    hints: str = ""
    toolkits: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Tools that were looked up. `missing`: by slug, why it is not among them."""

    tools: dict[str, ToolInfo]
    missing: dict[str, str]
    trouble: str | None = None


class Directory:
    """`sources`: of tools; `hosts`: APIs of the setting `proxy_hosts`; `policies`: what sessions may use."""

    def __init__(self, sources: Sequence[Tools], hosts: Mapping[str, ProxyHost], policies: Policies) -> None:
        self._backend = next((source for source in sources if source.claims(META_PREFIX)), None)
        self._sources = [source for source in sources if source is not self._backend]
        self._hosts = hosts
        self._policies = policies
        self._indexed: list[ToolInfo] | None = None
        self._index: ToolIndex | None = None
        self._building = asyncio.Lock()

    @property
    def has_backend(self) -> bool:
        """Whether there is a backend with meta tools of its own."""
        return self._backend is not None

    @property
    def has_tools(self) -> bool:
        """Whether any source of tools is configured."""
        return self._backend is not None or bool(self._sources)

    def has_sandbox(self, session: Session) -> bool:
        """Whether the session runs code. Raises `HelperRefused`: its configuration cannot be read."""
        return self._policies.of(session).sandbox

    # --- toolkits -----------------------------------------------------------------------------------------

    async def standings(self, session: Session) -> dict[str, Standing]:
        """Say how each toolkit that the session may use stands, by name. Waits for nothing."""
        policy = self._policies.of(session)
        found = [of_server(kit) for source in self._sources for kit in await source.toolkits()]
        found += [of_host(name, host) for name, host in self._hosts.items() if _has_proxy(policy)]
        return {standing.toolkit: standing for standing in reversed(found) if refusal(policy, standing.toolkit) is None}

    async def connect(
        self, session: Session, toolkits: Sequence[str], *, again: bool = False, wait_s: float | None = None
    ) -> dict[str, Standing]:
        """Say how all stand after those of `toolkits` that are not there were tried again, once, for CONNECT_S at most.

        `again`: try also when they are there. `wait_s`: try until they are, for so many seconds at most.
        """
        if again or await self._absent(session, toolkits):
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S if wait_s is None else wait_s):
                    await self._check()
                    # A source answers when its next attempt has ended, so that this does not spin.
                    while wait_s is not None and await self._absent(session, toolkits):
                        await self._check()
        return await self.standings(session)

    def refusal(self, session: Session, toolkit: str) -> HelperRefused | None:
        """Say why the session may not use a toolkit; None when it may."""
        return refusal(self._policies.of(session), toolkit)

    # --- tools --------------------------------------------------------------------------------------------

    async def search(self, session: Session, use_cases: Sequence[UseCase], *, limit: int) -> list[list[Hit]]:
        """Give for each use case what fits, the best first, of what the session may use."""
        policy = self._policies.of(session)
        index = await self._renewed()

        def search(case: UseCase) -> list[Hit]:
            def allowed(entry: Entry) -> bool:
                wanted = case.toolkits is None or normal_toolkit(entry.toolkit) in case.toolkits
                return wanted and _may_use(policy, entry)

            return index.search(case.text, allowed, hints=case.hints, limit=limit)

        return await asyncio.to_thread(lambda: [search(case) for case in use_cases])

    async def find(self, session: Session, slugs: Sequence[str]) -> Found:
        """Describe tools by slug, in upper case; those that are not here are looked for at the backend."""
        policy = self._policies.of(session)
        known = {tool.slug: tool for tool in await self._tools()}
        found = {slug: known[slug] for slug in slugs if slug in known}
        trouble = None
        try:
            found.update(await self._elsewhere(slugs, known))
        except UpstreamError as error:
            trouble = error.message
        refused = {slug: why for slug, tool in found.items() if (why := _refused(policy, tool)) is not None}
        tools = {slug: found[slug] for slug in slugs if slug in found and slug not in refused}
        absent = [standing for standing in (await self.standings(session)).values() if not standing.active]
        unknown = [slug for slug in slugs if slug not in tools and slug not in refused]
        reasons = await self._why_not(policy, unknown, absent) if unknown else {}
        missing = {slug: refused.get(slug) or reasons[slug] for slug in slugs if slug not in tools}
        return Found(tools, missing, trouble)

    async def describe(self, slugs: Sequence[str]) -> dict[str, ToolInfo]:
        """Describe tools by slug, in upper case, whatever sessions may use. Raises `UpstreamError`: of the backend."""
        known = {tool.slug: tool for tool in await self._tools()}
        found = {slug: known[slug] for slug in slugs if slug in known}
        return found | await self._elsewhere(slugs, known)

    async def listed(self, session: Session | None = None) -> list[ToolInfo]:
        """List all tools but those of the backend; of a session those that it may use."""
        tools = await self._tools()
        if session is None:
            return tools
        policy = self._policies.of(session)
        return [tool for tool in tools if _refused(policy, tool) is None]

    def may_run(self, session: Session, slug: str) -> bool:
        """Whether the session may run a tool of which only the slug is known."""
        policy = self._policies.of(session)
        try:
            policy.check_tool(slug)
            policy.check_tags(slug, None)
        except HelperRefused:
            return False
        return True

    # --- inside -------------------------------------------------------------------------------------------

    async def _absent(self, session: Session, toolkits: Sequence[str]) -> bool:
        """Whether one of these is not there, of those that are configured."""
        asked = set(map(normal_toolkit, toolkits))
        standings = (await self.standings(session)).values()
        return any(not one.active and normal_toolkit(one.toolkit) in asked for one in standings)

    async def _check(self) -> None:
        """Try what is not there, once."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(_checked(source))

    async def _elsewhere(self, slugs: Sequence[str], known: Mapping[str, ToolInfo]) -> dict[str, ToolInfo]:
        """Ask the backend for those that nobody here has. Raises `UpstreamError`."""
        asked = [slug for slug in slugs if slug not in known and not self._is_ours(slug)]
        if self._backend is None or not asked:
            return {}
        return {tool.slug: tool for tool in await self._backend.find(asked)}

    def _is_ours(self, slug: str) -> bool:
        return slug.startswith(META_PREFIX) or any(source.claims(slug) for source in self._sources)

    async def _why_not(self, policy: Policy, slugs: Sequence[str], absent: Sequence[Standing]) -> dict[str, str]:
        """Say of each that it is not there, and of the first few what is near them."""
        index = await self._renewed()

        def like(slug: str) -> list[str]:
            hits = index.search(slug, lambda entry: _may_use(policy, entry), limit=_LOOKED_AT)
            return near(slug, [hit.entry.tool.slug for hit in hits if hit.entry.tool is not None])

        nearest = await asyncio.to_thread(lambda: {slug: like(slug) for slug in slugs[:_NEAR_MAX]})
        return {slug: _unknown(slug, nearest.get(slug, []), absent) for slug in slugs}

    async def _renewed(self) -> ToolIndex:
        """Give an index of the tools as they are now; made anew only when one of them is another one."""
        tools = await self._tools()
        async with self._building:
            # Sources give the same objects until a list changes, so that this is cheap.
            if self._index is None or tools != self._indexed:
                entries = [Entry(tool.toolkit, tool) for tool in tools]
                entries += [Entry(name, words=f"API requests {host.base_url}") for name, host in self._hosts.items()]
                self._index = await asyncio.to_thread(ToolIndex, entries)
                self._indexed = tools
            return self._index

    async def _tools(self) -> list[ToolInfo]:
        """List the tools of all sources; of a server that is gone those that it had."""
        async with asyncio.TaskGroup() as group:
            lists = [
                group.create_task(_listed(source, kit.slug))
                for source in self._sources
                for kit in await source.toolkits()
                if kit.healthy is not False or kit.tools is not None
            ]
        return [tool for each in lists for tool in each.result()]


async def _listed(source: Tools, toolkit: str) -> list[ToolInfo]:
    try:
        async with asyncio.timeout(STARTING_S):
            return await source.tools(toolkit)
    except (TimeoutError, UpstreamError):
        return []


async def _checked(source: Tools) -> None:
    with suppress(UpstreamError):
        await source.check()


def refusal(policy: Policy, toolkit: str) -> HelperRefused | None:
    """Give the reason why a policy forbids a toolkit; None when it does not."""
    try:
        policy.check_toolkit(normal_toolkit(toolkit))
    except HelperRefused as error:
        return error
    return None


def _has_proxy(policy: Policy) -> bool:
    try:
        policy.check_helper("proxy_execute")
    except HelperRefused:
        return False
    return True


def _may_use(policy: Policy, entry: Entry) -> bool:
    if entry.tool is None:
        return _has_proxy(policy) and refusal(policy, entry.toolkit) is None
    return _refused(policy, entry.tool) is None


def _refused(policy: Policy, tool: ToolInfo) -> str | None:
    try:
        policy.check_tool(tool.slug)
        policy.check_tags(tool.slug, tool.tags)
    except WorkbenchError as error:
        return error.message
    return None


def _unknown(slug: str, like: Sequence[str], absent: Sequence[Standing]) -> str:
    for standing in absent:
        if slug.startswith(f"{normal_toolkit(standing.toolkit).upper()}_"):
            return f"{slug} is not known now. {standing.words}"
    return f"There is no tool {slug}." + (f" Near it: {', '.join(like)}." if like else "")
