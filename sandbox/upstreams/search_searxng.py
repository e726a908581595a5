"""Results from the web by a SearXNG instance."""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from yarl import URL

from sandbox.upstreams.http import CHECK_TIMEOUT_S, OK, HttpRequest, HttpUpstream
from sandbox.upstreams.search_query import check_query

RESULTS: Final = 10
"""Results that an answer names."""

HINTS: Final = {
    403: "Its settings.yml does not allow JSON: add json to search.formats.",
    404: "Check the setting searxng_url.",
    429: "Its limiter refuses the controller: let the address pass, or turn the limiter off.",
}

_NO_QUERY: Final = 400


class _Result(msgspec.Struct):
    url: str
    title: str | None = None
    content: str | None = None


class _Found(msgspec.Struct):
    results: list[_Result]
    answers: list[Any] = msgspec.field(default_factory=list)
    unresponsive_engines: list[Any] = msgspec.field(default_factory=list)


class SearxngSearch:
    """Asks one instance. `url`: without `/search`."""

    name = "search (searxng)"

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._http = HttpUpstream("SearXNG", hints=HINTS)

    async def answer(self, query: str, *, timeout_s: float) -> str:
        """Give title, URL and snippet of the first results, after direct answers if there are any."""
        check_query(query)
        answer = await self._http.send(self._request(query, min(timeout_s, self._timeout_s)))
        try:
            found = msgspec.json.decode(answer.body, type=_Found)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if found is None:
            raise self._http.invalid("answered in a way that cannot be understood", answer.body)
        return _text(query, found)

    async def check(self) -> str:
        """Ask for JSON without a question: 400 says that JSON is allowed, and no search engine is asked."""
        await self._http.send(self._request("", CHECK_TIMEOUT_S, frozenset({*OK, _NO_QUERY})))
        return "SearXNG answers in JSON"

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    def _request(self, query: str, timeout_s: float, accepted: frozenset[int] = frozenset(OK)) -> HttpRequest:
        url = URL(f"{self._url}/search?{urlencode({'q': query, 'format': 'json'})}", encoded=True)
        headers = [("accept", "application/json, text/html;q=0.5"), ("accept-language", "en")]
        return HttpRequest("GET", url, timeout_s, headers, accepted=accepted, repeatable=True)


def _text(query: str, found: _Found) -> str:
    direct = [text for each in found.answers if (text := _direct(each))]
    results = [_entry(number, result) for number, result in enumerate(found.results[:RESULTS], 1)]
    if direct or results:
        return "\n\n".join([*direct, *results])
    silent = ", ".join(_engine(each) for each in found.unresponsive_engines)
    return f"No results for {query!r}" + (f"; these engines did not answer: {silent}" if silent else "")


def _direct(answer: Any) -> str | None:
    match answer:
        case str() as text:
            return text
        case {"answer": str(text)}:
            return text
    return None


def _entry(number: int, result: _Result) -> str:
    lines = [f"{number}. {result.title or result.url}", result.url, " ".join((result.content or "").split())]
    return "\n".join(line for line in lines if line)


def _engine(engine: Any) -> str:
    match engine:
        case [str(name), str(why), *_]:
            return f"{name} ({why})"
    return str(engine)
