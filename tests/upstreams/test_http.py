"""Connections to upstreams."""

import asyncio
import gzip
import ssl
from pathlib import Path

import httpx
import msgspec
import pytest

from sandbox.errors import UpstreamInvalid, UpstreamUnavailable
from sandbox.limits import MIB
from tests.support.api_host import CREDENTIAL, ApiHost
from tests.support.faulty_server import Fault, FaultyServer, Reply, in_thread
from tests.support.tls import make_certificates
from tests.upstreams.http_cases import hosts, proxy_call, searxng

pytestmark = pytest.mark.anyio


async def test_a_connection_is_used_again() -> None:
    api = ApiHost()
    async with api.serving():
        proxy = hosts(api)
        for _ in range(3):
            await proxy.request(proxy_call(method="POST", body={}))
        assert api.open == 1
        await proxy.aclose()


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    api = ApiHost()
    async with api.serving():
        proxy = hosts(api)
        await proxy.request(proxy_call(method="POST", body={}))
    async with api.serving():
        await proxy.request(proxy_call(method="POST", body={}))
        await proxy.aclose()
    assert len(api.seen) == 2


async def test_64_calls_run_at_once() -> None:
    api = ApiHost()
    api.always = Fault.SILENT
    async with api.serving(), asyncio.timeout(30):
        proxy = hosts(api)
        calls = [asyncio.ensure_future(proxy.request(proxy_call())) for _ in range(64)]
        for _ in calls:
            await api.arrived.acquire()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for _ in calls:
            await api.abandoned.acquire()
        await proxy.aclose()


async def test_a_certificate_that_nobody_knows_is_not_accepted(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    api = ApiHost()
    async with api.serving(context):
        proxy = hosts(api, base_url=f"https://127.0.0.1:{api.port}/v1")
        with pytest.raises(UpstreamUnavailable, match="certificate is not accepted") as raised:
            await proxy.request(proxy_call())
        await proxy.aclose()
    assert not raised.value.retry
    assert api.seen == []


async def test_a_compressed_answer_is_bounded_by_what_it_becomes() -> None:
    api = ApiHost()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    api.replies["/v1/small"] = Reply(200, gzip.compress(b'{"a": 1}'), headers)
    api.replies["/v1/bomb"] = Reply(200, gzip.compress(b" " * 100 * MIB), headers)
    async with api.serving():
        proxy = hosts(api)
        assert msgspec.json.decode((await proxy.request(proxy_call("/small"))).data) == {"a": 1}
        with pytest.raises(UpstreamInvalid, match="more than 1048576 bytes"):
            await proxy.request(proxy_call("/bomb"))
        await proxy.aclose()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, api = FaultyServer(), ApiHost()
    async with elsewhere.serving(), api.serving():
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        proxy = hosts(api)
        assert (await proxy.request(proxy_call())).status == 200
        await proxy.aclose()
    assert elsewhere.seen == []


async def test_a_url_that_redirects_is_named_in_the_error() -> None:
    server = FaultyServer()
    server.always, server.redirect_to = Fault.REDIRECT_AWAY, "https://search.example/search"
    async with server.serving():
        search = searxng(server)
        with pytest.raises(Exception, match="redirect to https://search.example/search, which is not followed"):
            await search.answer("q", timeout_s=5)
        await search.aclose()


def test_a_stand_in_serves_tests_without_a_loop() -> None:
    api = ApiHost()
    with in_thread(api):
        answer = httpx.get(f"{api.base_url}/x", headers={"authorization": CREDENTIAL})
    assert (answer.status_code, api.seen[0].path) == (200, "/v1/x")
