"""Answers from the web by Exa's `/answer`."""

from typing import Any, Final

import msgspec
from pydantic import SecretStr
from yarl import URL

from sandbox.upstreams.http import CHECK_TIMEOUT_S, OK, HttpRequest, HttpUpstream
from sandbox.upstreams.search_query import check_query

HINTS: Final = {
    401: "Check the setting exa_api_key.",
    402: "Check the balance of the account of exa_api_key.",
    403: "Check what the key in the setting exa_api_key may do.",
    404: "Check the setting exa_base_url.",
}

_NO_QUESTION: Final = frozenset({400, 422})


class _Citation(msgspec.Struct):
    url: str
    title: str | None = None


class _Answered(msgspec.Struct):
    answer: Any
    citations: list[_Citation] | None = None


class ExaSearch:
    """Asks Exa. `base_url`: without `/answer`."""

    name = "search (exa)"

    def __init__(self, base_url: str, key: SecretStr, *, timeout_s: float) -> None:
        self._url = URL(f"{base_url}/answer")
        self._timeout_s = timeout_s
        self._headers = [("x-api-key", key.get_secret_value()), ("content-type", "application/json")]
        self._http = HttpUpstream("The search service", secrets=[key], hints=HINTS)

    async def answer(self, query: str, *, timeout_s: float) -> str:
        """Give Exa's answer, and under it its sources by number."""
        check_query(query)
        body = msgspec.json.encode({"query": query, "text": False})
        timeout_s = min(timeout_s, self._timeout_s)
        answer = await self._http.send(HttpRequest("POST", self._url, timeout_s, self._headers, body, repeatable=True))
        try:
            answered = msgspec.json.decode(answer.body, type=_Answered)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answered = None
        if answered is None:
            raise self._http.invalid("answered in a way that cannot be understood", answer.body)
        return _text(answered)

    async def check(self) -> str:
        """Ask without a question: a key that is not known is told before that, and nothing is paid for."""
        request = HttpRequest(
            "POST",
            self._url,
            CHECK_TIMEOUT_S,
            self._headers,
            b"{}",
            accepted=frozenset({*OK, *_NO_QUESTION}),
            repeatable=True,
        )
        await self._http.send(request)
        return "the search service answers and takes the key"

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()


def _text(answered: _Answered) -> str:
    answer = answered.answer
    text = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    sources = [
        f"{number}. {citation.title or citation.url} - {citation.url}"
        for number, citation in enumerate(answered.citations or (), 1)
    ]
    return "\n".join([text, "", "Sources:", *sources]) if sources else text
