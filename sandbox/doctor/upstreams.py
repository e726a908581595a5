"""What the helpers reach outside: whether each configured upstream answers, and which setting brings a missing one."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Final

from sandbox.config import Settings
from sandbox.config_upstreams import ObjectStoreName
from sandbox.doctor.finding import Begin, Finding, Outcome, Show
from sandbox.errors import WorkbenchError
from sandbox.outside import make_outside
from sandbox.upstreams.base import ToolkitInfo, Upstream, Upstreams
from sandbox.upstreams.build import close_upstreams
from sandbox.upstreams.mcp_servers import McpTools

CHECK_TIMEOUT_S: Final = 60.0
"""Seconds for all checks of one upstream; a server that `npx` or `uvx` has to fetch first takes some of them."""


async def examine_upstreams(settings: Settings, *, show: Show, begin: Begin) -> None:
    """Check each configured upstream, all at once; name the settings of those that are not."""
    begin("asking what the helpers reach")
    upstreams = make_outside(settings).upstreams
    try:
        checks: list[Awaitable[list[Finding]]] = [_check(upstream) for upstream in upstreams]
        for findings in await asyncio.gather(*checks):
            for finding in findings:
                show(finding)
    finally:
        await close_upstreams(upstreams)
    for finding in missing(settings, upstreams):
        show(finding)


def missing(settings: Settings, upstreams: Upstreams) -> Iterator[Finding]:
    """Say of each kind that is not configured which setting would. A choice, and so no failure."""
    if not upstreams.tools:
        fix = "Set mcp_servers (WORKBENCH_MCP_SERVERS) or composio_api_key (WORKBENCH_COMPOSIO_API_KEY)."
        yield _absent("tools", "run_composio_tool", fix)
    if not upstreams.proxies:
        fix = "Set proxy_hosts (WORKBENCH_PROXY_HOSTS) or composio_api_key (WORKBENCH_COMPOSIO_API_KEY)."
        yield _absent("proxy", "proxy_execute", fix)
    if upstreams.model is None:
        fix = "Set model_base_url, model_name and model_api_key (WORKBENCH_MODEL_BASE_URL, ...)."
        yield _absent("model", "invoke_llm", fix)
    if upstreams.search is None:
        fix = "Set exa_api_key (WORKBENCH_EXA_API_KEY) or searxng_url (WORKBENCH_SEARXNG_URL)."
        yield _absent("search", "web_search", fix)
    if upstreams.objects is None and settings.object_store is ObjectStoreName.NONE:
        fix = "Set object_store (WORKBENCH_OBJECT_STORE) to local or s3."
        yield _absent("objects", "upload_local_file", fix)


def _absent(name: str, helper: str, fix: str) -> Finding:
    return Finding(name, Outcome.KNOWN, f"not configured: {helper} answers that it is not", fix)


async def _check(upstream: Upstream) -> list[Finding]:
    if isinstance(upstream, McpTools):
        return [_server(kit) for kit in await upstream.toolkits(wait_s=CHECK_TIMEOUT_S)]
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return [Finding(upstream.name, Outcome.OK, await upstream.check())]
    except WorkbenchError as error:
        return [Finding(upstream.name, Outcome.FAILED, str(error), error.suggested_fix or "Look at its settings.")]
    except TimeoutError:
        words = f"no answer within {CHECK_TIMEOUT_S:g} s"
        return [Finding(upstream.name, Outcome.FAILED, words, "Look at its settings.")]


def _server(kit: ToolkitInfo) -> Finding:
    name = f"MCP server {kit.slug}"
    if kit.healthy:
        return Finding(name, Outcome.OK, f"{kit.tools} tools")
    fix = f"Look at [mcp_servers.{kit.slug}] in the settings; its command has to run as the controller's user."
    return Finding(name, Outcome.FAILED, kit.trouble or "it is still starting", fix)
