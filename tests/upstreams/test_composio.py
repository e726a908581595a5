"""Tools and raw requests by way of a Composio-compatible backend."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from sandbox.errors import (
    InvalidArguments,
    NotFound,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRateLimited,
    UpstreamRefused,
)
from sandbox.upstreams.base import Principal
from sandbox.upstreams.composio import ComposioTools
from sandbox.upstreams.composio_proxy import ComposioProxy
from tests.support.composio_backend import ComposioBackend
from tests.support.faulty_server import Fault
from tests.upstreams.http_cases import backend_proxy, proxy_call, tool_call, tools

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend() -> AsyncIterator[ComposioBackend]:
    server = ComposioBackend()
    async with server.serving():
        yield server


@pytest.fixture
async def source(backend: ComposioBackend) -> AsyncIterator[ComposioTools]:
    upstream = tools(backend)
    yield upstream
    await upstream.aclose()


@pytest.fixture
async def proxy(backend: ComposioBackend) -> AsyncIterator[ComposioProxy]:
    upstream = backend_proxy(backend)
    yield upstream
    await upstream.aclose()


def value(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


async def test_a_tool_is_run_on_the_direct_road(backend: ComposioBackend, source: ComposioTools) -> None:
    answer = await source.execute(tool_call(n=1, text="\N{SNOWMAN}"))
    assert (value(answer.data), answer.error) == ({"echo": {"n": 1, "text": "\N{SNOWMAN}"}}, None)
    assert answer.log_id == "log_1"
    [seen] = backend.seen
    assert (seen.method, seen.target) == ("POST", "/api/v3.1/tools/execute/TEST_ECHO")
    assert seen.json == {"arguments": {"n": 1, "text": "\N{SNOWMAN}"}, "user_id": "default", "version": "latest"}


async def test_user_and_account_go_with_the_call(backend: ComposioBackend, source: ComposioTools) -> None:
    call = replace(tool_call(), principal=Principal("trs_a", "o", "user_7"), account="ca_work")
    await source.execute(call)
    [(_, body)] = backend.executed
    assert (body["user_id"], body["connected_account_id"]) == ("user_7", "ca_work")


async def test_a_tool_that_fails_is_an_answer_with_its_words(source: ComposioTools) -> None:
    answer = await source.execute(tool_call("TEST_FAIL", n=1))
    assert answer.error == "the tool could not: {'n': 1}"
    assert value(answer.data) == {}


async def test_an_unknown_tool_is_not_found(source: ComposioTools) -> None:
    with pytest.raises(NotFound, match="Tool NO_SUCH_TOOL not found"):
        await source.execute(tool_call("NO_SUCH_TOOL"))


@pytest.mark.parametrize("slug", ["", "../../admin", "A/B", "A?x=1", "lower", "A" * 300, "A\n"])
async def test_what_is_no_slug_is_not_sent(backend: ComposioBackend, source: ComposioTools, slug: str) -> None:
    with pytest.raises(InvalidArguments, match="tool_slug"):
        await source.execute(tool_call(slug))
    assert backend.seen == []


@pytest.mark.parametrize("bad", [object(), "\ud800"])
async def test_arguments_that_are_no_json_are_not_sent(
    backend: ComposioBackend, source: ComposioTools, bad: object
) -> None:
    with pytest.raises(InvalidArguments, match="arguments"):
        await source.execute(tool_call(bad=bad))
    assert backend.seen == []


@pytest.mark.parametrize(
    ("data", "expected"), [(None, {}), ([1, 2], {"result": [1, 2]}), ("text", {"result": "text"}), ({"a": 1}, {"a": 1})]
)
async def test_data_is_always_an_object(
    backend: ComposioBackend, source: ComposioTools, data: Any, expected: dict[str, Any]
) -> None:
    backend.tools["TEST_ECHO"] = lambda _: data
    assert value((await source.execute(tool_call())).data) == expected


async def test_what_a_key_of_the_backend_is_repeated_in_comes_without_it(
    backend: ComposioBackend, source: ComposioTools
) -> None:
    backend.tools["TEST_ECHO"] = lambda _: {"headers": {"x-api-key": backend.key}}
    answer = await source.execute(tool_call())
    assert value(answer.data) == {"headers": {"x-api-key": "[credential]"}}


async def test_tools_are_described_by_slug(backend: ComposioBackend, source: ComposioTools) -> None:
    found = await source.find(["TEST_ECHO", "NO_SUCH", "TEST_ECHO", "not a slug"])
    [tool] = found
    assert (tool.slug, tool.toolkit, tool.tags) == ("TEST_ECHO", "test", ("important",))
    assert tool.input_schema == {"type": "object", "properties": {}}
    assert dict(backend.seen[0].query)["tool_slugs"] == "TEST_ECHO,NO_SUCH"
    assert await source.find([]) == []
    assert (await source.toolkits(), await source.tools("github")) == ([], [])
    assert source.claims("ANYTHING")


async def test_many_tools_are_described_in_pages(backend: ComposioBackend, source: ComposioTools) -> None:
    slugs = [f"TEST_{n}" for n in range(120)]
    backend.tools = dict.fromkeys(slugs, lambda _: None)
    assert [tool.slug for tool in await source.find(slugs)] == slugs
    assert len(backend.seen) == 3


async def test_the_check_names_the_setting_of_a_wrong_key(backend: ComposioBackend) -> None:
    upstream = ComposioTools(backend.url, SecretStr("another-key-that-is-wrong"), timeout_s=5)
    with pytest.raises(UpstreamRefused, match="composio_api_key") as raised:
        await upstream.check()
    await upstream.aclose()
    assert "another-key" not in raised.value.message


async def test_under_faults_no_call_is_lost_and_none_is_done_twice(
    backend: ComposioBackend, source: ComposioTools
) -> None:
    faults = [Fault.RATE_LIMITED, Fault.RESET_AFTER_REQUEST, Fault.RESET_AT_ONCE, Fault.ERROR, Fault.HALF_ANSWER]
    backend.faults.extend(faults * 20)

    async def run(number: int) -> bool:
        try:
            await source.execute(tool_call(number=number))
        except UpstreamError:
            return False
        return True

    ended = await asyncio.gather(*(run(number) for number in range(300)))
    assert sum(ended) == 200
    numbers = [body["arguments"]["number"] for _, body in backend.executed]
    assert len(numbers) == len(set(numbers)) == 280


@pytest.mark.parametrize("calls_before", [0, 1])
async def test_nothing_is_asked_after_the_end(source: ComposioTools, calls_before: int) -> None:
    for _ in range(calls_before):
        await source.execute(tool_call())
    await source.aclose()
    with pytest.raises(UpstreamError, match="the controller stops"):
        await source.execute(tool_call())


async def test_a_raw_request_goes_through_the_users_account(backend: ComposioBackend, proxy: ComposioProxy) -> None:
    call = proxy_call("/user", method="PATCH", body={"a": 1}, query=[("p", "1")], headers=[("Accept", "x/y")])
    answer = await proxy.request(call)
    assert (answer.status, value(answer.data)) == (200, {"login": "octocat"})
    assert answer.headers == {"content-type": "application/json"}
    assert backend.proxied == [
        {
            "connected_account_id": "ca_github_1",
            "endpoint": "/user",
            "method": "PATCH",
            "body": {"a": 1},
            "parameters": [
                {"name": "p", "type": "query", "value": "1"},
                {"name": "Accept", "type": "header", "value": "x/y"},
            ],
        }
    ]


async def test_an_account_is_looked_up_once(backend: ComposioBackend, proxy: ComposioProxy) -> None:
    for _ in range(3):
        await proxy.request(proxy_call(toolkit="GitHub"))
    asked = [seen for seen in backend.seen if seen.path.endswith("/connected_accounts")]
    assert len(asked) == 1
    assert dict(asked[0].query) == {
        "toolkit_slugs": "github",
        "user_ids": "default",
        "statuses": "ACTIVE",
        "limit": "1",
    }


async def test_each_user_has_accounts_of_his_own(backend: ComposioBackend, proxy: ComposioProxy) -> None:
    await proxy.request(proxy_call())
    with pytest.raises(UpstreamRefused, match="no active connected account for toolkit 'github' of user 'user_7'"):
        await proxy.request(replace(proxy_call(), principal=Principal("trs_b", "o", "user_7")))
    assert len(backend.proxied) == 1


async def test_an_account_that_was_removed_is_looked_up_again(backend: ComposioBackend, proxy: ComposioProxy) -> None:
    await proxy.request(proxy_call())
    backend.accounts = {("github", "default"): "ca_github_2"}
    with pytest.raises(UpstreamRefused, match="Connected account not found"):
        await proxy.request(proxy_call())
    await proxy.request(proxy_call())
    assert backend.proxied[-1]["connected_account_id"] == "ca_github_2"


async def test_a_429_of_the_api_itself_is_asked_again_later(backend: ComposioBackend, proxy: ComposioProxy) -> None:
    backend.proxy_answer = {"status": 429, "data": {"message": "busy"}, "headers": {"Retry-After": "2"}}
    with pytest.raises(UpstreamRateLimited, match="429: busy") as raised:
        await proxy.request(proxy_call())
    assert (raised.value.retry, raised.value.retry_after_s) == (True, 2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 404, "data": {"message": "Not Found"}}, {"message": "Not Found"}),
        ({"status": 204, "data": None}, None),
        ({"status": 200, "data": "text"}, "text"),
        (
            {"status": 200, "data": None, "binary_data": {"url": "https://x/", "size": 3}},
            {"url": "https://x/", "size": 3},
        ),
    ],
)
async def test_what_the_api_answers_comes_as_it_is(
    backend: ComposioBackend, proxy: ComposioProxy, answer: dict[str, Any], expected: Any
) -> None:
    backend.proxy_answer = answer
    got = await proxy.request(proxy_call())
    assert (got.status, value(got.data)) == (answer["status"], expected)


async def test_of_headers_that_no_api_has_no_objects_are_made(backend: ComposioBackend, proxy: ComposioProxy) -> None:
    backend.proxy_answer = {"status": 200, "data": 1, "headers": {"x": [[]] * 30_000}}
    with pytest.raises(UpstreamInvalid, match="not the answer of an API"):
        await proxy.request(proxy_call())


async def test_of_an_error_that_is_no_sentence_the_beginning_is_said(
    backend: ComposioBackend, source: ComposioTools
) -> None:
    backend.failure = [["x"]] * 50_000
    answer = await source.execute(tool_call("TEST_FAIL"))
    assert answer.error is not None
    assert answer.error.startswith('[["x"],["x"],')
    assert len(answer.error) <= 4001
