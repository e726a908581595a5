"""Raw requests to APIs of the configuration, each a toolkit: one host, one credential that is added on the way.

What comes back: JSON as it is; text as a JSON string; anything else as `{"base64", "content_type", "size"}`; nothing as
null. An answer of 429 is raised, so that it is asked again later; every other status is the caller's to read. A
redirect to another host is given back as it came.
"""

import asyncio
import codecs
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

import msgspec
from pydantic import SecretStr
from yarl import URL

from sandbox.config_upstreams import ProxyHost
from sandbox.errors import FieldError, InvalidArguments, NotFound, UpstreamError, UpstreamUnavailable
from sandbox.limits import KIB, MIB
from sandbox.upstreams.base import Json, ProxyAnswer, ProxyCall
from sandbox.upstreams.endpoints import same_origin, target
from sandbox.upstreams.http import CHECK_TIMEOUT_S, HttpAnswer, HttpRequest, HttpUpstream

_REDIRECTS_MAX: Final = 5
_TOO_MANY: Final = 429
_ANY: Final = frozenset(range(100, 1000)) - {_TOO_MANY}
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_BAD_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_JSON_TYPE: Final = re.compile(r"application/(json|[^;\s]+\+json)|text/json", re.IGNORECASE)
_TEXT_TYPE: Final = re.compile(r"text/|application/([^;\s]*\+)?(xml|javascript|x-www-form-urlencoded|yaml|x-ndjson)|$")
_CHARSET: Final = re.compile(r'charset="?([A-Za-z0-9._-]{1,40})', re.IGNORECASE)

_UTF8: Final = "utf-8"
_SWOLLEN: Final = 2
"""Times as long as it came: what is longer as a JSON string has signs that no text has, six bytes for one."""

_SHORT_BYTES: Final = 64 * KIB
_NO_CHARSETS: Final = frozenset({"punycode", "idna", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Codecs of other things than texts; the first one takes hours for a few megabytes."""

_REFUSED: Final = frozenset({"authorization", "proxy-authorization", "host", "cookie"})
"""What says who asks, and where: the configuration's to say."""

_DROPPED: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""What belongs to one connection: ours is another one."""

_NOT_SHOWN: Final = _DROPPED | {"content-encoding", "set-cookie"}


@dataclass(frozen=True, slots=True)
class _Host:
    settings: ProxyHost
    http: HttpUpstream


class HostProxy:
    """Reaches the hosts of the setting `proxy_hosts`, by toolkit name. `max_bytes`: of one answer."""

    name = "proxy (hosts)"

    def __init__(self, hosts: Mapping[str, ProxyHost], *, max_bytes: int = 512 * MIB) -> None:
        self._max_bytes = max_bytes
        self._hosts = {
            toolkit: _Host(host, HttpUpstream(f"The API of {toolkit}", secrets=_secrets(host)))
            for toolkit, host in hosts.items()
        }

    def claims(self, toolkit: str) -> bool:
        """Whether it is one of the hosts."""
        return toolkit.lower() in self._hosts

    async def request(self, call: ProxyCall) -> ProxyAnswer:
        """Send one request; redirects within the host are followed."""
        host = self._hosts.get(call.toolkit.lower())
        if host is None:
            raise NotFound(f"Toolkit {call.toolkit!r} is not in the setting proxy_hosts")
        answer = await _follow(host, _request(host.settings, call, self._max_bytes))
        headers = {name: host.http.scrub(value) for name, value in answer.headers.items() if name not in _NOT_SHOWN}
        return ProxyAnswer(answer.status, _data(answer, host.http.scrub), headers)

    async def check(self) -> str:
        """Ask every host for the headers of its base URL, all at once."""
        failures: list[UpstreamError] = []
        async with asyncio.TaskGroup() as group:
            for host in self._hosts.values():
                group.create_task(_reach(host, failures))
        if failures:
            raise UpstreamUnavailable("; ".join(failure.message for failure in failures))
        return f"{', '.join(sorted(self._hosts))}: reached"

    async def aclose(self) -> None:
        """Let go of connections."""
        for host in self._hosts.values():
            await host.http.aclose()


def _secrets(host: ProxyHost) -> list[SecretStr]:
    return [] if host.credential is None else [host.credential]


def _request(host: ProxyHost, call: ProxyCall, max_bytes: int) -> HttpRequest:
    headers = _headers(host, call)
    names = {name.lower() for name, _ in headers}
    overrides = any("method-override" in name or name == "x-http-method" for name in names)
    if call.body is not None and "content-type" not in names:
        headers.append(("Content-Type", "application/json"))
    return HttpRequest(
        call.method,
        target(host.base_url, call),
        min(call.timeout_s, host.timeout_s),
        [*headers, *_credential(host)],
        None if call.body is None else _body(call.body, headers),
        max_bytes,
        repeatable=call.method == "GET" and not overrides,
        accepted=_ANY,
    )


def _headers(host: ProxyHost, call: ProxyCall) -> list[tuple[str, str]]:
    """Give the headers of user code that may be sent."""
    own = _plain(host.header)
    kept = []
    for name, value in call.headers:
        if _NAME.fullmatch(name) is None or _BAD_VALUE.search(value):
            raise _refused(name, "is no header: its name or value holds characters that none may hold")
        if _plain(name) in _REFUSED or _plain(name) == own:
            raise _refused(name, f"must not be set: the credential of {call.toolkit} is added on the way")
        if _plain(name) not in _DROPPED:
            kept.append((name, value))
    return kept


def _plain(name: str) -> str:
    """Give the form in which names are compared: many servers take X_Api_Key for X-Api-Key."""
    return name.lower().replace("_", "-")


def _credential(host: ProxyHost) -> list[tuple[str, str]]:
    return [] if host.credential is None else [(host.header, host.credential.get_secret_value())]


def _body(body: Json, headers: list[tuple[str, str]]) -> bytes:
    """Give the JSON, or of a JSON string its text where another type is named, such as a form."""
    raw = bytes(body)
    content_type = next(value for name, value in headers if name.lower() == "content-type")
    if raw[:1] == b'"' and _JSON_TYPE.match(content_type) is None:
        return msgspec.json.decode(raw, type=str).encode()
    return raw


async def _follow(host: _Host, request: HttpRequest) -> HttpAnswer:
    """Send it, and again to where the same host redirects it; the last answer counts."""
    until = monotonic() + request.timeout_s
    for _ in range(_REDIRECTS_MAX):
        answer = await host.http.send(replace(request, timeout_s=until - monotonic()))
        following = _redirected(host.settings, request, answer)
        if following is None:
            return answer
        request = following
    raise host.http.invalid(f"redirected more than {_REDIRECTS_MAX} times")


def _redirected(host: ProxyHost, request: HttpRequest, answer: HttpAnswer) -> HttpRequest | None:
    location = answer.headers.get("location")
    if answer.status not in (301, 302, 303, 307, 308) or not location:
        return None
    try:
        url = request.url.join(URL(location))
    except ValueError:
        return None
    if not same_origin(host.base_url, url) or url.raw_user is not None:
        return None
    if answer.status in (307, 308) or request.method == "GET":
        return replace(request, url=url)
    return replace(request, url=url, method="GET", body=None)


def _data(answer: HttpAnswer, scrub: Callable[[str], str]) -> Json:
    content_type = answer.headers.get("content-type", "")
    if not answer.body:
        return Json(b"null")
    if _JSON_TYPE.match(content_type) or not content_type:
        try:
            return msgspec.json.decode(answer.body, type=Json)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content_type = "text/plain"
    if _TEXT_TYPE.match(content_type.lower()):
        charset = _CHARSET.search(content_type)
        try:
            text = Json(msgspec.json.encode(_decoded(answer.body, charset[1] if charset else _UTF8, scrub)))
            if len(text) <= max(_SWOLLEN * len(answer.body), _SHORT_BYTES):
                return text
        except (UnicodeError, LookupError):
            pass
    coded = {"base64": b64encode(answer.body).decode(), "content_type": content_type, "size": len(answer.body)}
    return Json(msgspec.json.encode(coded))


def _decoded(body: bytearray, charset: str, scrub: Callable[[str], str]) -> str:
    """Give the text of a body. Raises `LookupError` for what is no charset, `UnicodeError` for what is not in it."""
    name = codecs.lookup(charset).name
    if name in _NO_CHARSETS:
        raise LookupError(charset)
    text = body.decode(name)
    # In UTF-8 it was looked through already.
    return text if name == _UTF8 else scrub(text)


async def _reach(host: _Host, failures: list[UpstreamError]) -> None:
    headers = _credential(host.settings)
    try:
        await host.http.send(
            HttpRequest("HEAD", URL(host.settings.base_url), CHECK_TIMEOUT_S, headers, accepted=_ANY, repeatable=True)
        )
    except UpstreamError as error:
        failures.append(error)


def _refused(name: str, why: str) -> InvalidArguments:
    reason = f"{name[:100]!r} {why}"
    return InvalidArguments(f"headers: {reason}", errors=(FieldError("headers", reason),))
