"""Every upstream behind HTTP with its stand-in, and one call of each: what the tests of failures walk through."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from sandbox.config_upstreams import ProxyHost
from sandbox.limits import MIB
from sandbox.upstreams.base import Method, Principal, ProxyCall, ToolCall
from sandbox.upstreams.composio import ComposioTools
from sandbox.upstreams.composio_proxy import ComposioProxy
from sandbox.upstreams.model_openai import OpenAiModel
from sandbox.upstreams.proxy_hosts import HostProxy
from sandbox.upstreams.search_exa import ExaSearch
from sandbox.upstreams.search_searxng import SearxngSearch
from tests.support import api_host, composio_backend, model_server, search_servers
from tests.support.api_host import ApiHost
from tests.support.composio_backend import ComposioBackend
from tests.support.faulty_server import FaultyServer
from tests.support.model_server import ModelServer
from tests.support.search_servers import ExaServer, SearxngServer

NOBODY: Final = Principal("trs_a", "owner")
TIMEOUT_S: Final = 30.0
SECRETS: Final = (
    composio_backend.KEY,
    model_server.KEY,
    search_servers.EXA_KEY,
    api_host.CREDENTIAL.partition(" ")[2],
)


def tool_call(slug: str = "TEST_ECHO", *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> ToolCall:
    return ToolCall(slug, arguments, NOBODY, timeout_s)


def proxy_call(
    endpoint: str = "/things",
    *,
    toolkit: str = "github",
    method: Method = "GET",
    body: Any = None,
    timeout_s: float = TIMEOUT_S,
    **more: Any,
) -> ProxyCall:
    raw = None if body is None else msgspec.Raw(msgspec.json.encode(body))
    return ProxyCall(toolkit, method, endpoint, NOBODY, timeout_s, body=raw, **more)


def tools(server: FaultyServer, max_bytes: int = MIB) -> ComposioTools:
    return ComposioTools(server.url, SecretStr(composio_backend.KEY), timeout_s=TIMEOUT_S, max_bytes=max_bytes)


def backend_proxy(server: FaultyServer) -> ComposioProxy:
    return ComposioProxy(server.url, SecretStr(composio_backend.KEY), timeout_s=TIMEOUT_S, max_bytes=MIB)


def hosts(server: FaultyServer, max_bytes: int = MIB, **settings: Any) -> HostProxy:
    host = ProxyHost(**{"base_url": f"{server.url}/v1", "credential": SecretStr(api_host.CREDENTIAL), **settings})
    return HostProxy({"github": host}, max_bytes=max_bytes)


def model(server: FaultyServer, **options: Any) -> OpenAiModel:
    key = SecretStr(model_server.KEY)
    return OpenAiModel(f"{server.url}/v1", model_server.MODEL, key, timeout_s=TIMEOUT_S, **options)


def exa(server: FaultyServer) -> ExaSearch:
    return ExaSearch(server.url, SecretStr(search_servers.EXA_KEY), timeout_s=TIMEOUT_S)


def searxng(server: FaultyServer) -> SearxngSearch:
    return SearxngSearch(server.url, timeout_s=TIMEOUT_S)


@dataclass(frozen=True)
class Case:
    """`call`: one call with that many seconds; `prime`: call once before, so that all it looks up is known.

    `repeatable`: the call has no effect; `passes_statuses`: a status is its answer and not its failure.
    """

    name: str
    server: Callable[[], FaultyServer]
    upstream: Callable[[FaultyServer], Any]
    call: Callable[[Any, float], Awaitable[Any]]
    repeatable: bool
    prime: bool = False
    passes_statuses: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass
class Running:
    """A case whose stand-in serves."""

    case: Case
    server: FaultyServer
    upstream: Any

    async def call(self, timeout_s: float = TIMEOUT_S) -> Any:
        return await self.case.call(self.upstream, timeout_s)


@asynccontextmanager
async def running(case: Case) -> AsyncIterator[Running]:
    """Serve the stand-in of a case; its upstream is closed at the end."""
    server = case.server()
    async with server.serving():
        upstream = case.upstream(server)
        try:
            if case.prime:
                await case.call(upstream, TIMEOUT_S)
            yield Running(case, server, upstream)
        finally:
            await upstream.aclose()


CASES: Final = (
    Case("execute", ComposioBackend, tools, lambda it, s: it.execute(tool_call(timeout_s=s)), repeatable=False),
    Case("proxy account", ComposioBackend, backend_proxy, lambda it, s: it.request(proxy_call(timeout_s=s)), True),
    Case(
        "proxy post",
        ComposioBackend,
        backend_proxy,
        lambda it, s: it.request(proxy_call(method="POST", body={}, timeout_s=s)),
        repeatable=False,
        prime=True,
    ),
    Case("proxy get", ComposioBackend, backend_proxy, lambda it, s: it.request(proxy_call(timeout_s=s)), True, True),
    Case(
        "host get",
        ApiHost,
        hosts,
        lambda it, s: it.request(proxy_call(timeout_s=s)),
        repeatable=True,
        passes_statuses=True,
    ),
    Case(
        "host put",
        ApiHost,
        hosts,
        lambda it, s: it.request(proxy_call(method="PUT", body={}, timeout_s=s)),
        repeatable=False,
        passes_statuses=True,
    ),
    Case("model", ModelServer, model, lambda it, s: it.complete("hi", reasoning_effort=None, timeout_s=s), True),
    Case("exa", ExaServer, exa, lambda it, s: it.answer("hi", timeout_s=s), repeatable=True),
    Case("searxng", SearxngServer, searxng, lambda it, s: it.answer("hi", timeout_s=s), repeatable=True),
)
