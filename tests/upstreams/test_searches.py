"""Searches of the web."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from sandbox.errors import InvalidArguments, UpstreamRefused
from sandbox.upstreams.search_exa import ExaSearch
from sandbox.upstreams.search_searxng import SearxngSearch
from tests.support.search_servers import ExaServer, SearxngServer
from tests.upstreams.http_cases import exa, searxng

pytestmark = pytest.mark.anyio


@pytest.fixture
async def exa_server() -> AsyncIterator[ExaServer]:
    server = ExaServer()
    async with server.serving():
        yield server


@pytest.fixture
async def searxng_server() -> AsyncIterator[SearxngServer]:
    server = SearxngServer()
    async with server.serving():
        yield server


@pytest.fixture
async def search(searxng_server: SearxngServer) -> AsyncIterator[SearxngSearch]:
    upstream = searxng(searxng_server)
    yield upstream
    await upstream.aclose()


async def test_exa_answers_with_its_sources(exa_server: ExaServer) -> None:
    upstream = exa(exa_server)
    text = await upstream.answer("snow \N{SNOWMAN}", timeout_s=30)
    await upstream.aclose()
    assert text == (
        "About snow \N{SNOWMAN}.\n\nSources:\n1. One - https://one.example/\n"
        "2. https://two.example/ - https://two.example/"
    )
    assert exa_server.seen[0].json == {"query": "snow \N{SNOWMAN}", "text": False}


async def test_the_check_of_exa_tells_a_wrong_key_and_pays_for_nothing(exa_server: ExaServer) -> None:
    right, wrong = exa(exa_server), ExaSearch(exa_server.url, SecretStr("a-wrong-key-of-mine"), timeout_s=5)
    assert "takes the key" in await right.check()
    with pytest.raises(UpstreamRefused, match="Invalid API key .Check the setting exa_api_key"):
        await wrong.check()
    await right.aclose()
    await wrong.aclose()
    assert exa_server.answered == []


async def test_searxng_gives_the_first_ten_results(searxng_server: SearxngServer, search: SearxngSearch) -> None:
    text = await search.answer("a & b", timeout_s=30)
    entries = text.split("\n\n")
    assert entries[0] == "1. Result 1\nhttps://result.example/1\nText of 1"
    assert len(entries) == 10
    assert searxng_server.answered == ["a & b"]


async def test_direct_answers_come_first(searxng_server: SearxngServer, search: SearxngSearch) -> None:
    searxng_server.body = {"results": [{"url": "https://x/"}], "answers": ["42", {"answer": "43", "url": None}, 7]}
    assert await search.answer("q", timeout_s=30) == "42\n\n43\n\n1. https://x/\nhttps://x/"


async def test_no_results_are_said_with_the_engines_that_failed(
    searxng_server: SearxngServer, search: SearxngSearch
) -> None:
    searxng_server.body = {"results": [], "unresponsive_engines": [["bing", "timeout"], ["brave", "CAPTCHA"]]}
    expected = "No results for 'q'; these engines did not answer: bing (timeout), brave (CAPTCHA)"
    assert await search.answer("q", timeout_s=30) == expected


async def test_an_instance_without_json_is_told_what_to_change(
    searxng_server: SearxngServer, search: SearxngSearch
) -> None:
    assert await search.check() == "SearXNG answers in JSON"
    searxng_server.json_allowed = False
    with pytest.raises(UpstreamRefused, match=r"add json to search\.formats"):
        await search.answer("q", timeout_s=30)
    with pytest.raises(UpstreamRefused, match=r"add json to search\.formats"):
        await search.check()
    assert searxng_server.answered == []


@pytest.mark.parametrize("query", ["", "  ", "x" * 4001, "\ud800"])
async def test_a_question_that_is_none_is_not_sent(
    searxng_server: SearxngServer, search: SearxngSearch, query: str
) -> None:
    with pytest.raises(InvalidArguments, match="query"):
        await search.answer(query, timeout_s=30)
    assert searxng_server.seen == []
