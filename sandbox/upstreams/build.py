"""Everything outside that the settings name. Modules are imported only when a setting names what they speak to."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from sandbox.config_upstreams import ObjectStoreName, UpstreamSettings
from sandbox.upstreams.base import Connect, Model, Objects, Proxy, Search, Starts, Tools, Upstream, Upstreams

log = structlog.get_logger(__name__)

_CLOSE_S: Final = 5.0


def build_upstreams(settings: UpstreamSettings, local: Callable[[], Objects]) -> Upstreams:
    """Make all that are configured; nothing is connected yet. `local` makes the store that the controller serves."""
    return Upstreams(
        tools=_tools(settings),
        proxies=_proxies(settings),
        model=_model(settings),
        search=_search(settings),
        objects=_objects(settings, local),
        connect=_connect(settings),
    )


async def start_upstreams(upstreams: Upstreams) -> None:
    """Begin what they have to begin."""
    for upstream in upstreams:
        if isinstance(upstream, Starts):
            await upstream.start()


async def close_upstreams(upstreams: Upstreams) -> None:
    """Close all at the same time, each within a deadline."""
    async with asyncio.TaskGroup() as group:
        for upstream in upstreams:
            group.create_task(_close(upstream))


async def _close(upstream: Upstream) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await upstream.aclose()
    except Exception:  # a border: whatever becomes of one, the others are closed
        log.exception("an upstream could not be closed", upstream=upstream.name)


def _tools(settings: UpstreamSettings) -> tuple[Tools, ...]:
    """MCP servers come first: the backend claims every slug."""
    found: list[Tools] = []
    if settings.mcp_servers:
        from sandbox.upstreams.mcp_servers import McpTools  # noqa: PLC0415 - slow

        found.append(McpTools(settings.mcp_servers, answer_max_bytes=settings.tool_answer_max_bytes))
    if settings.composio_api_key is not None:
        from sandbox.upstreams.composio import ComposioTools  # noqa: PLC0415 - slow

        found.append(
            ComposioTools(
                settings.composio_base_url,
                settings.composio_api_key,
                timeout_s=settings.composio_timeout_s,
                max_bytes=settings.tool_answer_max_bytes,
            )
        )
    return tuple(found)


def _proxies(settings: UpstreamSettings) -> tuple[Proxy, ...]:
    """Hosts of our own come first: the backend claims every toolkit."""
    found: list[Proxy] = []
    if settings.proxy_hosts:
        from sandbox.upstreams.proxy_hosts import HostProxy  # noqa: PLC0415 - slow

        found.append(HostProxy(settings.proxy_hosts, max_bytes=settings.tool_answer_max_bytes))
    if settings.composio_api_key is not None:
        from sandbox.upstreams.composio_proxy import ComposioProxy  # noqa: PLC0415 - slow

        found.append(
            ComposioProxy(
                settings.composio_base_url,
                settings.composio_api_key,
                timeout_s=settings.composio_timeout_s,
                max_bytes=settings.tool_answer_max_bytes,
            )
        )
    return tuple(found)


def _connect(settings: UpstreamSettings) -> Connect | None:
    if settings.composio_api_key is None:
        return None
    from sandbox.upstreams.composio_connect import ComposioConnect  # noqa: PLC0415 - slow

    return ComposioConnect(settings.composio_base_url, settings.composio_api_key, timeout_s=settings.composio_timeout_s)


def _objects(settings: UpstreamSettings, local: Callable[[], Objects]) -> Objects | None:
    if settings.object_store is ObjectStoreName.LOCAL:
        return local()
    if settings.object_store is ObjectStoreName.NONE or settings.s3_bucket is None:
        return None
    from sandbox.upstreams.objects_s3 import S3Objects  # noqa: PLC0415 - slow

    return S3Objects(
        settings.s3_bucket,
        prefix=settings.s3_prefix,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        link_s=settings.object_link_s,
    )


def _model(settings: UpstreamSettings) -> Model | None:
    if settings.model_base_url is None or settings.model_name is None:
        return None
    from sandbox.upstreams.model_openai import OpenAiModel  # noqa: PLC0415 - slow

    return OpenAiModel(
        settings.model_base_url,
        settings.model_name,
        settings.model_api_key,
        timeout_s=settings.model_timeout_s,
        temperature=settings.model_temperature,
        max_output_tokens=settings.model_max_output_tokens,
    )


def _search(settings: UpstreamSettings) -> Search | None:
    if settings.exa_api_key is not None:
        from sandbox.upstreams.search_exa import ExaSearch  # noqa: PLC0415 - slow

        return ExaSearch(settings.exa_base_url, settings.exa_api_key, timeout_s=settings.search_timeout_s)
    if settings.searxng_url is not None:
        from sandbox.upstreams.search_searxng import SearxngSearch  # noqa: PLC0415 - slow

        return SearxngSearch(settings.searxng_url, timeout_s=settings.search_timeout_s)
    return None
