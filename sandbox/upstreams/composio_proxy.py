"""Raw requests to toolkits' own APIs by way of a Composio-compatible backend, which adds the credentials.

That road wants a connected account. Which one a user has for a toolkit is asked for and kept for a minute.
"""

from collections import OrderedDict
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr
from yarl import URL

from sandbox.errors import UpstreamError, UpstreamRefused
from sandbox.limits import KIB, MIB
from sandbox.upstreams.base import Json, ProxyAnswer, ProxyCall
from sandbox.upstreams.composio import HINTS, backend_headers, user_of
from sandbox.upstreams.http import CHECK_TIMEOUT_S, HttpAnswer, HttpRequest, HttpUpstream

_ACCOUNT_S: Final = 60.0
_ACCOUNTS_KEPT: Final = 10_000
_HEADERS_BYTES: Final = 64 * KIB
_NULL: Final = Json(b"null")


class _Account(msgspec.Struct):
    id: str


class _Accounts(msgspec.Struct):
    items: list[_Account]


class _Proxied(msgspec.Struct):
    """The answer of `tools/execute/proxy`: what the API said. A body that is no text is a link in `binary_data`."""

    status: float
    data: Json = _NULL
    headers: Json = _NULL
    binary_data: Json = _NULL


class ComposioProxy:
    """Sends requests through a backend. It claims every toolkit, so it is asked after hosts of our own."""

    name = "proxy (composio)"

    def __init__(self, base_url: str, key: SecretStr, *, timeout_s: float, max_bytes: int = 512 * MIB) -> None:
        self._base = f"{base_url}/api/v3.1"
        self._headers = backend_headers(key)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._http = HttpUpstream("The tool backend", secrets=[key], hints=HINTS)
        self._accounts: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def claims(self, toolkit: str) -> bool:  # noqa: ARG002 - every toolkit
        """Say yes: what no other way reaches may be connected there."""
        return True

    async def request(self, call: ProxyCall) -> ProxyAnswer:
        """Send one request. An answer of 429 is raised as `UpstreamRateLimited`, so that it is asked again later."""
        until = monotonic() + min(call.timeout_s, self._timeout_s)
        user, toolkit = user_of(call.principal), call.toolkit.lower()
        account = await self._account(user, toolkit, until)
        try:
            answer = await self._http.send(self._request(call, account, until))
        except UpstreamRefused:
            # The account may have been removed there: the next call asks again.
            self._accounts.pop((user, toolkit), None)
            raise
        return self._proxied(answer)

    async def check(self) -> str:
        """List at most one connected account, which costs nothing and needs the key."""
        await self._http.send(self._get({"limit": 1}, CHECK_TIMEOUT_S))
        return "the tool backend answers and takes the key"

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _account(self, user: str, toolkit: str, until: float) -> str:
        kept = self._accounts.get((user, toolkit))
        if kept is not None and kept[1] > monotonic():
            return kept[0]
        account = await self._ask_account(user, toolkit, until)
        self._accounts[user, toolkit] = (account, monotonic() + _ACCOUNT_S)
        self._accounts.move_to_end((user, toolkit))
        while len(self._accounts) > _ACCOUNTS_KEPT:
            self._accounts.popitem(last=False)
        return account

    async def _ask_account(self, user: str, toolkit: str, until: float) -> str:
        """Ask for the newest active account; nothing has been sent to the toolkit yet, so this may be repeated."""
        query = {"toolkit_slugs": toolkit, "user_ids": user, "statuses": "ACTIVE", "limit": 1}
        answer = await self._http.send(self._get(query, until - monotonic()))
        try:
            accounts = msgspec.json.decode(answer.body, type=_Accounts).items
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            accounts = None
        if accounts is None:
            raise self._http.invalid("listed connected accounts in a way that cannot be understood", answer.body)
        if not accounts:
            raise UpstreamRefused(
                f"The tool backend has no active connected account for toolkit {toolkit!r} of user {user!r}; "
                "connect one there, or name the API in the setting proxy_hosts"
            )
        return accounts[0].id

    def _get(self, query: dict[str, Any], timeout_s: float) -> HttpRequest:
        url = URL(f"{self._base}/connected_accounts?{urlencode(query)}", encoded=True)
        return HttpRequest("GET", url, timeout_s, self._headers, repeatable=True)

    def _request(self, call: ProxyCall, account: str, until: float) -> HttpRequest:
        parameters = [{"name": name, "type": "query", "value": value} for name, value in call.query]
        parameters += [{"name": name, "type": "header", "value": value} for name, value in call.headers]
        body: dict[str, Any] = {
            "connected_account_id": account,
            "endpoint": call.endpoint,
            "method": call.method,
            "parameters": parameters,
        }
        if call.body is not None:
            body["body"] = call.body
        return HttpRequest(
            "POST",
            URL(f"{self._base}/tools/execute/proxy", encoded=True),
            until - monotonic(),
            self._headers,
            msgspec.json.encode(body),
            self._max_bytes,
            repeatable=call.method == "GET",
        )

    def _proxied(self, answer: HttpAnswer) -> ProxyAnswer:
        try:
            proxied = msgspec.json.decode(answer.body, type=_Proxied)
            headers = _headers(proxied.headers)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            proxied = None
        if proxied is None:
            raise self._http.invalid("answered with something that is not the answer of an API", answer.body)
        data = proxied.binary_data if bytes(memoryview(proxied.data)[:5]) == b"null" else proxied.data
        if proxied.status == 429:
            raise self._rate_limited(headers, data)
        return ProxyAnswer(int(proxied.status), data, headers)

    def _rate_limited(self, headers: dict[str, str], data: Json) -> UpstreamError:
        return self._http.refusal(HttpAnswer(429, headers, bytearray(data)), repeatable=True)


def _headers(said: Json) -> dict[str, str]:
    """Read the headers. Raises `msgspec.DecodeError`: they are none, or longer than any API's."""
    if len(said) > _HEADERS_BYTES:
        raise msgspec.DecodeError("too long")
    headers = msgspec.json.decode(said, type=dict[str, Any] | None) or {}
    return {name.lower(): str(value) for name, value in headers.items() if value is not None}
