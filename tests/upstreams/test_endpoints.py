"""Where a raw request may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from sandbox.errors import InvalidArguments
from sandbox.upstreams.endpoints import same_origin, target
from tests.compat.requirements import promises
from tests.upstreams.http_cases import proxy_call

BASE = "https://api.example.com/v1"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("/users", "https://api.example.com/v1/users"),
        ("users", "https://api.example.com/v1/users"),
        ("/", "https://api.example.com/v1/"),
        ("/users?page=2&q=a%20b", "https://api.example.com/v1/users?page=2&q=a%20b"),
        ("users:batchGet", "https://api.example.com/v1/users:batchGet"),
        ("/projects/group%2Fname", "https://api.example.com/v1/projects/group%2Fname"),
        ("/caf\N{LATIN SMALL LETTER E WITH ACUTE}", "https://api.example.com/v1/caf%C3%A9"),
        ("/a..b/.hidden/c...", "https://api.example.com/v1/a..b/.hidden/c..."),
        ("https://api.example.com/v2/users?x=1", "https://api.example.com/v2/users?x=1"),
        ("HTTPS://API.Example.com:443/v2", "https://api.example.com/v2"),
        ("https://api.example.com", "https://api.example.com/"),
        ("https://api.example.com//other.example/x", "https://api.example.com//other.example/x"),
        ("/to?next=https://other.example/..", "https://api.example.com/v1/to?next=https://other.example/.."),
    ],
)
def test_a_path_is_under_the_base_and_a_url_on_its_host(endpoint: str, expected: str) -> None:
    url = target(BASE, proxy_call(endpoint))
    assert str(url) == expected
    assert same_origin(BASE, url)


@promises("CC-1.45")
@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "x" * 9000,
        "https://other.example/users",
        "https://api.example.com.other.example/",
        "https://api.example.com./",
        "https://api.example.com:8443/",
        "https://api.example.com:99999/",
        "http://api.example.com/v1/users",
        "ftp://api.example.com/",
        "https://user:word@api.example.com/",
        "https://api.example.com@other.example/",
        "https://other.example@api.example.com/",
        "https://[::1/",
        "//other.example/users",
        "///other.example",
        "https:other.example",
        "https:/other.example",
        "/\\other.example",
        "\\\\other.example",
        "/users\\..\\admin",
        "/users/%5c..%5cadmin",
        "..",
        "/../admin",
        "/users/../../admin",
        "/./users",
        "/%2e%2e/admin",
        "/%2E./admin",
        "/%252e%252e/admin",
        "/users/..%2fadmin",
        "/users/%2e%2e%2fadmin",
        "/users/..;/admin",
        "/users/..;x=1/admin",
        "/%c0%ae%c0%ae/admin",
        "https://api.example.com/../x",
        "/users#part",
        "/users HTTP/1.1\r\nHost: other.example",
        "/users\n",
        "/a b",
        "/users%0d%0aHost:x",
        "/users%00",
        "/users\x7f",
    ],
)
def test_everything_else_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(InvalidArguments, match="^endpoint: ") as raised:
        target(BASE, proxy_call(endpoint))
    assert raised.value.errors[0].path == "endpoint"


def test_the_query_of_the_call_follows_that_of_the_endpoint() -> None:
    call = proxy_call("/users?a=1", query=[("b", "2 3"), ("b", "&"), ("c", "\N{SNOWMAN}")])
    assert target(BASE, call).raw_query_string == "a=1&b=2+3&b=%26&c=%E2%98%83"


@pytest.mark.parametrize("base", ["http://[::1]:8080/api", "http://127.0.0.1:8080/api", "http://localhost:8080/api"])
def test_ports_and_addresses_are_kept(base: str) -> None:
    assert str(target(base, proxy_call("/x"))) == f"{base}/x"
    assert str(target(base, proxy_call(f"{base}/y"))) == f"{base}/y"


@pytest.mark.parametrize(
    "other", ["https://api.example.com:1/", "http://api.example.com/", "https://x.example/", "/v1"]
)
def test_another_origin_is_told_apart(other: str) -> None:
    assert not same_origin(BASE, URL(other))


@given(st.text("ab./\\%25eEcCfF:@?#;&= \r\n\t\0[]~\u00e9htps", max_size=40) | st.text(max_size=40))
def test_no_text_leads_elsewhere(endpoint: str) -> None:
    for written in (endpoint, f"https://api.example.com{endpoint}", f"/{endpoint}"):
        try:
            url = target(BASE, proxy_call(written))
        except InvalidArguments:
            continue
        assert same_origin(BASE, url)
        assert same_origin(BASE, URL(str(url)))
        assert str(url).isascii()
        assert not {".", ".."} & set(url.raw_path.split("/"))
        assert not {".", ".."} & set(url.path.split("/"))
