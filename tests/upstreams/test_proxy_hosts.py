"""Raw requests to hosts of the configuration."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from sandbox.config_upstreams import ProxyHost
from sandbox.errors import InvalidArguments, NotFound, UpstreamInvalid, UpstreamRefused, UpstreamUnavailable
from sandbox.gateway.methods.proxy import ProxyExecute
from sandbox.upstreams.proxy_hosts import HostProxy
from tests.support.api_host import CREDENTIAL, ApiHost
from tests.support.faulty_server import Reply, closed_port
from tests.upstreams.http_cases import hosts, proxy_call

pytestmark = pytest.mark.anyio

TOKEN = CREDENTIAL.partition(" ")[2]


@pytest.fixture
async def api() -> AsyncIterator[ApiHost]:
    server = ApiHost()
    async with server.serving():
        yield server


@pytest.fixture
async def proxy(api: ApiHost) -> AsyncIterator[HostProxy]:
    upstream = hosts(api)
    yield upstream
    await upstream.aclose()


def value(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


async def test_the_credential_is_added_on_the_way_and_does_not_come_back(api: ApiHost, proxy: HostProxy) -> None:
    api.replies["/v1/me"] = Reply(200, b"", {"x-repeated": CREDENTIAL})
    answer = await proxy.request(proxy_call("/things", query=[("a", "b c")]))
    assert answer.status == 200
    assert api.seen[0].headers["authorization"] == CREDENTIAL
    assert value(answer.data)["headers"]["authorization"] == "[credential]"
    assert value(answer.data)["query"] == [["a", "b c"]]
    assert (await proxy.request(proxy_call("/me"))).headers["x-repeated"] == "[credential]"


async def test_a_credential_in_a_text_of_another_charset_does_not_come_back(api: ApiHost, proxy: HostProxy) -> None:
    api.replies["/v1/me"] = Reply(200, CREDENTIAL.encode("utf-16"), {"content-type": "text/plain; charset=utf-16"})
    assert value((await proxy.request(proxy_call("/me"))).data) == "[credential]"


async def test_headers_that_are_not_utf_8_are_latin_1(api: ApiHost, proxy: HostProxy) -> None:
    api.replies["/v1/file"] = Reply(200, b"{}", {"content-disposition": 'attachment; filename="caf\xe9.pdf"'})
    answer = await proxy.request(proxy_call("/file", method="POST"))
    assert answer.headers["content-disposition"] == 'attachment; filename="caf\xe9.pdf"'
    assert ProxyExecute((proxy,)).answer(answer).error == ""
    api.replies["/v1/away"] = Reply(302, b"", {"location": "http://other.example/caf\xe9"})
    assert (await proxy.request(proxy_call("/away"))).headers["location"] == "http://other.example/caf\xe9"


async def test_a_path_arrives_as_it_was_written(api: ApiHost, proxy: HostProxy) -> None:
    await proxy.request(proxy_call("/projects/group%2fname//x;y=1?a=%26&b=+", query=[("c", "d e")]))
    assert api.seen[0].target == "/v1/projects/group%2fname//x;y=1?a=%26&b=+&c=d+e"


async def test_toolkits_are_known_by_name(proxy: HostProxy) -> None:
    assert proxy.claims("GitHub")
    assert not proxy.claims("slack")
    with pytest.raises(NotFound, match="proxy_hosts"):
        await proxy.request(proxy_call(toolkit="slack"))


@pytest.mark.parametrize(
    "name", ["Authorization", "AUTHORIZATION", "proxy-authorization", "Host", "Cookie", "x-api-key", "X_Api_Key"]
)
async def test_headers_that_say_who_asks_are_refused(api: ApiHost, name: str) -> None:
    proxy = hosts(api, header="X-Api-Key")
    with pytest.raises(InvalidArguments, match=f"headers: '{name}' must not be set"):
        await proxy.request(proxy_call(headers=[(name, "x")]))
    await proxy.aclose()
    assert api.seen == []


@pytest.mark.parametrize(
    ("name", "content"), [("A B", "x"), ("", "x"), ("A\r\nB", "x"), ("A", "x\r\nHost: y"), ("A", "\0")]
)
async def test_headers_that_are_none_are_refused(api: ApiHost, proxy: HostProxy, name: str, content: str) -> None:
    with pytest.raises(InvalidArguments, match="headers: "):
        await proxy.request(proxy_call(headers=[(name, content)]))
    assert api.seen == []


async def test_headers_of_a_connection_are_dropped_and_others_sent(api: ApiHost, proxy: HostProxy) -> None:
    given = [("Connection", "close"), ("Transfer-Encoding", "chunked"), ("Accept-Encoding", "br"), ("X-Mine", "1")]
    await proxy.request(proxy_call(headers=given))
    sent = api.seen[0].headers
    assert sent["x-mine"] == "1"
    assert "transfer-encoding" not in sent
    assert sent["accept-encoding"] != "br"


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ({"a": 1}, None, '{"a":1}'),
        ("text", None, '"text"'),
        ("a=1&b=2", "application/x-www-form-urlencoded", "a=1&b=2"),
        ("{}", "application/vnd.api+json", '"{}"'),
        ([1], "text/plain", "[1]"),
    ],
)
async def test_a_body_is_json_or_text_of_the_type_that_is_named(
    api: ApiHost, proxy: HostProxy, body: Any, content_type: str | None, sent: str
) -> None:
    headers = [("content-type", content_type)] if content_type else []
    await proxy.request(proxy_call(method="POST", body=body, headers=headers))
    assert api.seen[0].body.decode() == sent
    assert api.seen[0].headers["content-type"] == (content_type or "application/json")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": [1, 2]}', "application/json", {"a": [1, 2]}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b"[1]", "", [1]),
        (b"plain", "", "plain"),
        (b"no json", "application/json", "no json"),
        ("caf\xe9".encode("latin-1"), "text/plain; charset=latin-1", "caf\xe9"),
        (b"<a/>", "application/atom+xml", "<a/>"),
        (b"\x89PNG", "image/png", {"base64": "iVBORw==", "content_type": "image/png", "size": 4}),
        (b"\xff\xfe", "text/plain", {"base64": "//4=", "content_type": "text/plain", "size": 2}),
        (
            b"x",
            "text/plain; charset=nonsense",
            {"base64": "eA==", "content_type": "text/plain; charset=nonsense", "size": 1},
        ),
        (
            b"a-9a9a",
            "text/plain; charset=punycode",
            {"base64": "YS05YTlh", "content_type": "text/plain; charset=punycode", "size": 6},
        ),
        (b"", "application/json", None),
    ],
)
async def test_json_text_and_bytes_are_told_apart(
    api: ApiHost, proxy: HostProxy, body: bytes, content_type: str, expected: Any
) -> None:
    api.replies["/v1/things"] = Reply(200, body, {"content-type": content_type} if content_type else {})
    assert value((await proxy.request(proxy_call())).data) == expected


async def test_what_would_be_many_times_as_long_as_text_comes_as_bytes(api: ApiHost, proxy: HostProxy) -> None:
    api.replies["/v1/things"] = Reply(200, b"\x01" * 300_000, {"content-type": "text/plain"})
    answer = await proxy.request(proxy_call())
    assert value(answer.data)["size"] == 300_000
    assert len(answer.data) < 500_000
    api.replies["/v1/things"] = Reply(200, b'line\n"\t' * 50_000, {"content-type": "text/plain"})
    assert value((await proxy.request(proxy_call())).data) == 'line\n"\t' * 50_000


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 404, 500, 503])
async def test_a_status_is_the_callers_to_read(api: ApiHost, proxy: HostProxy, status: int) -> None:
    api.replies["/v1/things"] = Reply(status, b"", {"set-cookie": "a=b", "x-rate": "1"})
    answer = await proxy.request(proxy_call())
    assert answer.status == status
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-rate"] == "1"


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "GET", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "DELETE", "DELETE")],
)
async def test_a_redirect_within_the_host_is_followed(
    api: ApiHost, proxy: HostProxy, status: int, method: Any, then: str
) -> None:
    api.replies["/v1/things"] = Reply(status, b"", {"location": "/v2/moved?x=1"})
    body = None if method in ("GET", "DELETE") else {"a": 1}
    answer = await proxy.request(proxy_call(method=method, body=body))
    said = value(answer.data)
    assert (said["method"], said["target"]) == (then, "/v2/moved?x=1")
    assert said["body"] == ('{"a":1}' if then == "POST" else "")


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:1/x",
        "//other.example/x",
        "http://ann:word@127.0.0.1:{port}/x",
        "http://[",
        "",
    ],
)
async def test_any_other_redirect_is_given_back(api: ApiHost, proxy: HostProxy, location: str) -> None:
    api.replies["/v1/things"] = Reply(302, b"", {"location": location.replace("{port}", str(api.port))})
    assert (await proxy.request(proxy_call())).status == 302
    assert len(api.seen) == 1


async def test_redirects_in_a_circle_end(api: ApiHost, proxy: HostProxy) -> None:
    api.replies["/v1/things"] = Reply(302, b"", {"location": "/v1/things"})
    with pytest.raises(UpstreamInvalid, match="more than 5 times"):
        await proxy.request(proxy_call())
    assert len(api.seen) == 5


async def test_cookies_are_not_kept(api: ApiHost, proxy: HostProxy) -> None:
    api.replies["/v1/in"] = Reply(200, b"", {"set-cookie": "session=1; Path=/"})
    await proxy.request(proxy_call("/in"))
    await proxy.request(proxy_call("/things"))
    assert "cookie" not in api.seen[1].headers


async def test_a_host_without_a_credential_is_asked_without_one(api: ApiHost) -> None:
    api.credential = None
    proxy = hosts(api, credential=None)
    answer = await proxy.request(proxy_call())
    await proxy.aclose()
    assert "authorization" not in value(answer.data)["headers"]


async def test_a_credential_that_cannot_be_sent_is_an_error_that_names_neither_it_nor_a_defect(api: ApiHost) -> None:
    host = ProxyHost.model_validate({"base_url": api.base_url, "credential": f"{CREDENTIAL}\n"})
    proxy = HostProxy({"github": host})
    with pytest.raises(UpstreamRefused, match="The API of github cannot be asked: .*control character") as raised:
        await proxy.request(proxy_call())
    await proxy.aclose()
    assert TOKEN not in raised.value.message
    assert api.seen == []


async def test_the_check_names_the_hosts_that_are_not_reached(api: ApiHost) -> None:
    away = ProxyHost.model_validate({"base_url": f"http://127.0.0.1:{closed_port()}", "credential": CREDENTIAL})
    here = ProxyHost.model_validate({"base_url": api.base_url})
    proxy = HostProxy({"here": here, "away": away})
    with pytest.raises(UpstreamUnavailable, match="The API of away could not be reached") as raised:
        await proxy.check()
    await proxy.aclose()
    assert "here" not in raised.value.message
    assert TOKEN not in raised.value.message
