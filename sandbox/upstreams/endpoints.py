"""Where a request to a toolkit's own API goes: the endpoint that user code names, on the configured host only. Pure."""

import re
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from yarl import URL

from sandbox.errors import FieldError, InvalidArguments
from sandbox.upstreams.base import ProxyCall

ENDPOINT_CHARS: Final = 8192

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LOOKS_ABSOLUTE: Final = re.compile(r"(https?:|//)", re.IGNORECASE)
_UNWANTED: Final = re.compile(r"[\x00-\x20\x7f\\#]")
_HIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_DECODINGS: Final = 3
_AS_IT_IS: Final = "/%:@!$&'()*+,;=-._~?[]"


def target(base_url: str, call: ProxyCall) -> URL:
    """Give the URL that a call means: a path under that of `base_url`, or a URL of its scheme, host and port.

    Raises:
        InvalidArguments: it means something else, or might be read as something else; names `endpoint`.
    """
    endpoint = call.endpoint
    if not endpoint or len(endpoint) > ENDPOINT_CHARS:
        raise _refused(endpoint, f"has to be 1 to {ENDPOINT_CHARS} characters long")
    if _UNWANTED.search(endpoint):
        raise _refused(endpoint, r"must not hold spaces, control characters, \ or #; encode them as %XX")
    base = URL(base_url)
    path, _, query = _path(base, endpoint).partition("?")
    _check_path(endpoint, path)
    parts = [part for part in (quote(query, safe=_AS_IT_IS), urlencode(list(call.query))) if part]
    # Scheme, host and port come from the configuration, whatever the endpoint says.
    return URL.build(
        scheme=base.scheme,
        authority=base.raw_authority,
        path=quote(path, safe=_AS_IT_IS) or "/",
        query_string="&".join(parts),
        encoded=True,
    )


def same_origin(base_url: str, url: URL) -> bool:
    """Whether a URL has the scheme, host and port of `base_url`."""
    try:
        return url.absolute and url.origin() == URL(base_url).origin()
    except ValueError:
        return False


def _path(base: URL, endpoint: str) -> str:
    """Give path and query."""
    if _SCHEME.match(endpoint):
        return _path_of_url(base, endpoint)
    if _LOOKS_ABSOLUTE.match(endpoint):
        raise _refused(endpoint, "has to be a path, or a whole URL with scheme and host")
    return f"{base.raw_path.rstrip('/')}/{endpoint.removeprefix('/')}"


def _path_of_url(base: URL, endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise _refused(endpoint, f"is no URL: {error}") from error
    if "@" in parts.netloc:
        raise _refused(endpoint, "must not hold a user name or password")
    if (parts.scheme, parts.hostname, port) != (base.scheme, base.host, base.port):
        raise _refused(endpoint, f"is on another host: only {base.origin()} is reached for this toolkit")
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _check_path(endpoint: str, path: str) -> None:
    """Refuse a path that a server may read as a different one, however often it decodes it."""
    for _ in range(_DECODINGS):
        if any(segment.partition(";")[0] in (".", "..") for segment in path.split("/")):
            raise _refused(endpoint, "must not hold . or .. as a part of the path")
        if _HIDDEN.search(path):
            raise _refused(endpoint, r"must not hold control characters or \, encoded or not")
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError as error:
            raise _refused(endpoint, "must be UTF-8 where it is encoded as %XX") from error


def _refused(endpoint: str, why: str) -> InvalidArguments:
    reason = f"{endpoint[:200]!r} {why}"
    return InvalidArguments(f"endpoint: {reason}", errors=(FieldError("endpoint", reason),))
