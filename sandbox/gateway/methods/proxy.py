"""`proxy_execute`: one raw request to a toolkit's own API, with its credential added on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from sandbox.errors import InvalidArguments, NotFound, UpstreamNotConfigured
from sandbox.gateway.methods.base import Arguments, Method, Sending
from sandbox.gateway.policy import Policy, normal_toolkit
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import Method as HttpMethod
from sandbox.upstreams.base import Proxy, ProxyAnswer, ProxyCall
from sandbox.upstreams.endpoints import ENDPOINT_CHARS
from sandbox.upstreams.json_values import VALUES_MAX, marks_in

_TOOLKIT_CHARS: Final = 200
_REASON_BYTES: Final = 64 * 1024
_REASON_CHARS: Final = 500
_WHOLE_BYTES: Final = 64 * 1024
_NULL: Final = b"null"


class ProxyArguments(Arguments, frozen=True):
    """`query`, `headers`: pairs. `body`: any JSON value; null and nothing: none."""

    method: HttpMethod
    endpoint: str
    toolkit: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct, frozen=True):
    body: msgspec.Raw = msgspec.Raw()


class _Around(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class ProxyExecute(Method[ProxyArguments, ProxyAnswer]):
    """`proxies`: all ways there are, in the order in which they are asked."""

    proxies: Sequence[Proxy]

    name: ClassVar[str] = "proxy_execute"
    arguments = ProxyArguments

    def target(self, arguments: ProxyArguments) -> str:
        """Give toolkit, method, host and path: what is in a query may be secret."""
        # Of what is longer than any that is sent only the beginning is looked at: to take a URL apart can take seconds.
        toolkit = normal_toolkit(arguments.toolkit[:_TOOLKIT_CHARS])
        try:
            parts = urlsplit(arguments.endpoint[:ENDPOINT_CHARS].strip())
        except ValueError:
            return f"{toolkit} {arguments.method}"
        host = parts.netloc.rpartition("@")[2]
        return f"{toolkit} {arguments.method} {host}{parts.path}"

    def has_too_many(self, raw: msgspec.Raw) -> bool:
        """Whether the arguments have too many values beside the body, of which no objects are made."""
        if len(raw) <= VALUES_MAX:
            return False
        try:
            body = bytes(msgspec.json.decode(raw, type=_Body).body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False  # who reads them says what is wrong
        return marks_in(bytes(raw)) - marks_in(body) > VALUES_MAX

    def ready(self, arguments: ProxyArguments) -> None:
        """Raise `UpstreamNotConfigured` without a way to any API, `InvalidArguments` for values that cannot be."""
        for field in ("toolkit", "endpoint"):
            if not getattr(arguments, field).strip():
                raise InvalidArguments(f"proxy_execute: {field} cannot be empty")
        if not self.proxies:
            raise UpstreamNotConfigured(
                "proxy_execute needs `proxy_hosts` or `composio_api_key` "
                "(WORKBENCH_PROXY_HOSTS, WORKBENCH_COMPOSIO_API_KEY)"
            )

    async def permit(self, arguments: ProxyArguments, policy: Policy) -> None:
        """Raise `HelperRefused` for a toolkit that the session may not reach."""
        policy.check_toolkit(normal_toolkit(arguments.toolkit))

    async def send(self, arguments: ProxyArguments, sending: Sending) -> ProxyAnswer:
        """Send the request, once. Raises `NotFound` when nothing reaches that toolkit."""
        toolkit = arguments.toolkit.strip().lower()
        return await self._way(toolkit).request(
            ProxyCall(
                toolkit,
                arguments.method,
                arguments.endpoint,
                sending.principal,
                sending.timeout_s,
                arguments.query,
                arguments.headers,
                arguments.body if _is_there(arguments.body) else None,
            )
        )

    def answer(self, result: ProxyAnswer) -> HelperAnswer:
        """Say what the API answered; a status of 400 or more is an error beside it."""
        around = msgspec.json.encode(_Around(result.status, result.headers))
        pieces = (around[:-1] + b',"data":', memoryview(result.data), b"}")
        error = f"API returned status {result.status}: {_reason(result)}" if result.status >= 400 else ""
        if len(result.data) > _WHOLE_BYTES:
            return HelperAnswer(pieces, error)
        return HelperAnswer(msgspec.Raw(b"".join(pieces)), error)

    def _way(self, toolkit: str) -> Proxy:
        for proxy in self.proxies:
            if proxy.claims(toolkit):
                return proxy
        raise NotFound(
            f"no API is configured for toolkit {toolkit[:100]!r}",
            suggested_fix="Name a toolkit of `proxy_hosts`, or one with a connected account.",
        )


def _is_there(body: msgspec.Raw) -> bool:
    """Whether there is a body; a long one is not copied to see that."""
    return len(body) > len(_NULL) or bytes(body) not in (b"", _NULL)


def _reason(answer: ProxyAnswer) -> str:
    """Give the API's own words, where APIs put them."""
    if len(answer.data) > _REASON_BYTES:
        return "see data"
    try:
        return _words(msgspec.json.decode(answer.data))[:_REASON_CHARS] or "see data"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "see data"


def _words(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and depth < 3:
        for key in ("message", "error", "detail", "error_description", "errors", "title"):
            if words := _words(value.get(key), depth + 1):
                return words
    if isinstance(value, list) and value:
        return _words(value[0], depth + 1)
    return ""
