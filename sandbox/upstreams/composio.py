"""Tools of a Composio-compatible backend, run on its direct road (Composio contract, sections 4.3, 4.4 and 6).

A session of ours is none of theirs: a call names the user and, where it was chosen, the connected account.
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr
from yarl import URL

from sandbox.errors import FieldError, InvalidArguments, NotFound
from sandbox.limits import KIB, MIB
from sandbox.upstreams.base import Json, Principal, ToolAnswer, ToolCall, ToolInfo, ToolkitInfo
from sandbox.upstreams.http import CHECK_TIMEOUT_S, OK, HttpAnswer, HttpRequest, HttpUpstream

NOBODY: Final = "default"
"""The user of calls whose client named none."""

HINTS: Final = {
    401: "Check the setting composio_api_key.",
    403: "Check what the key in the setting composio_api_key may do.",
}

_ERROR_CHARS: Final = 4000
_SLUG: Final = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,199}")
_SLUGS_PER_PAGE: Final = 50
_EMPTY: Final = Json(b"{}")
_NULL: Final = Json(b"null")
_SMALL_BYTES: Final = 64 * KIB
"""Of a part of an answer that is longer no objects are made."""

_OK_OR_UNKNOWN: Final = frozenset({*OK, 404})


class _Executed(msgspec.Struct):
    """The answer of `tools/execute`. Only the places in the body are kept: any part of it may be large."""

    data: Json
    error: Json = _NULL
    successful: Json = _NULL
    log_id: Json = _NULL

    @property
    def failed(self) -> bool:
        """Whether it says so; one that says nothing of success failed when it names an error."""
        successful = _small(self.successful)
        return not successful if isinstance(successful, bool) else bool(_small(self.error))


class _Toolkit(msgspec.Struct):
    slug: str = ""


class _Tool(msgspec.Struct):
    slug: str
    name: str | None = None
    description: str | None = None
    toolkit: _Toolkit = msgspec.field(default_factory=_Toolkit)
    input_parameters: dict[str, Any] | None = None
    output_parameters: dict[str, Any] | None = None
    tags: list[str] | None = None


class _Page(msgspec.Struct):
    items: list[_Tool]


_executed: Final = msgspec.json.Decoder(_Executed)
_page: Final = msgspec.json.Decoder(_Page)


class ComposioTools:
    """Runs tools at a backend. It claims every slug, so it is asked after all sources that know theirs.

    `base_url`: without `/api`; `timeout_s`: of one call; `max_bytes`: of one answer.
    """

    name = "tools (composio)"

    def __init__(self, base_url: str, key: SecretStr, *, timeout_s: float, max_bytes: int = 512 * MIB) -> None:
        self._base = f"{base_url}/api/v3.1"
        self._headers = backend_headers(key)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._http = HttpUpstream("The tool backend", secrets=[key], hints=HINTS)

    def claims(self, slug: str) -> bool:  # noqa: ARG002 - every slug
        """Say yes: what no other source has may be there."""
        return True

    async def execute(self, call: ToolCall) -> ToolAnswer:
        """Run a tool, once; it is sent again only when it cannot have begun."""
        if _SLUG.fullmatch(call.slug) is None:
            raise _no_slug(call.slug)
        request = HttpRequest(
            "POST",
            URL(f"{self._base}/tools/execute/{call.slug}", encoded=True),
            min(call.timeout_s, self._timeout_s),
            self._headers,
            _body(call),
            self._max_bytes,
            accepted=_OK_OR_UNKNOWN,
        )
        answer = await self._http.send(request)
        if answer.status == 404:
            raise NotFound(self._http.refusal(answer, repeatable=False).message)
        return self._executed(answer)

    async def find(self, slugs: Sequence[str]) -> list[ToolInfo]:
        """Describe the tools of these slugs that it has."""
        asked = [slug for slug in dict.fromkeys(slugs) if _SLUG.fullmatch(slug)]
        found: list[ToolInfo] = []
        for first in range(0, len(asked), _SLUGS_PER_PAGE):
            found += await self._find(asked[first : first + _SLUGS_PER_PAGE])
        return found

    async def toolkits(self) -> list[ToolkitInfo]:
        """List none: there are hundreds, and which are connected differs from user to user."""
        return []

    async def tools(self, toolkit: str | None = None) -> list[ToolInfo]:  # noqa: ARG002 - as above
        """List none: there are tens of thousands."""
        return []

    async def check(self) -> str:
        """Ask for one tool of the catalogue, which costs nothing and needs the key."""
        await self._http.send(self._get({"limit": 1}, CHECK_TIMEOUT_S))
        return "the tool backend answers and takes the key"

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _find(self, slugs: list[str]) -> list[ToolInfo]:
        query = {"tool_slugs": ",".join(slugs), "toolkit_versions": "latest", "limit": len(slugs)}
        answer = await self._http.send(self._get(query, self._timeout_s))
        try:
            return [_info(tool) for tool in _page.decode(answer.body).items]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            failure = self._http.invalid("listed tools in a way that cannot be understood", answer.body)
        raise failure

    def _get(self, query: dict[str, Any], timeout_s: float) -> HttpRequest:
        url = URL(f"{self._base}/tools?{urlencode(query)}", encoded=True)
        return HttpRequest("GET", url, timeout_s, self._headers, repeatable=True)

    def _executed(self, answer: HttpAnswer) -> ToolAnswer:
        try:
            executed = _executed.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            executed = None
        if executed is None:
            raise self._http.invalid("answered with something that is not the result of a tool", answer.body)
        error = _bounded(self._http.scrub(_error_text(_small(executed.error)))) if executed.failed else None
        log_id = _small(executed.log_id)
        return ToolAnswer(_object(executed.data), error, log_id if isinstance(log_id, str) else None)


def backend_headers(key: SecretStr) -> list[tuple[str, str]]:
    """Give the headers of every request to the backend."""
    return [("x-api-key", key.get_secret_value()), ("content-type", "application/json"), ("accept", "application/json")]


def user_of(principal: Principal) -> str:
    """Give what the backend calls the user."""
    return principal.user_id or NOBODY


def _body(call: ToolCall) -> bytes:
    body = {"arguments": call.arguments, "user_id": user_of(call.principal), "version": "latest"}
    if call.account is not None:
        body["connected_account_id"] = call.account
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, UnicodeEncodeError) as error:
        field = FieldError("arguments", f"is not JSON: {error}")
        raise InvalidArguments(f"arguments is not JSON: {error}", errors=(field,)) from error


def _object(data: Json) -> Json:
    """Give an object also where the backend sent null or a bare value."""
    raw = memoryview(data)
    if bytes(raw[:1]) == b"{":
        return data
    return _EMPTY if bytes(raw[:5]) == b"null" else Json(b'{"result":%b}' % bytes(raw))


def _small(value: Json) -> Any:
    """Make objects of a value; of a large one give its beginning as text."""
    try:
        if len(value) <= _SMALL_BYTES:
            return msgspec.json.decode(value)
    except RecursionError:
        pass
    return bytes(memoryview(value)[:_SMALL_BYTES]).decode("utf-8", "replace")


def _error_text(error: Any) -> str:
    if not error:
        return "The tool failed and did not say why"
    return error if isinstance(error, str) else _said(error)


def _bounded(text: str) -> str:
    return text if len(text) <= _ERROR_CHARS else f"{text[:_ERROR_CHARS]}…"


def _said(error: Any) -> str:
    match error:
        case {"message": str(message)}:
            return message
    return msgspec.json.encode(error).decode()


def _info(tool: _Tool) -> ToolInfo:
    return ToolInfo(
        slug=tool.slug,
        name=tool.name or tool.slug,
        description=tool.description or "",
        toolkit=tool.toolkit.slug,
        input_schema=tool.input_parameters or {},
        output_schema=tool.output_parameters or {},
        tags=tuple(tool.tags or ()),
    )


def _no_slug(slug: str) -> InvalidArguments:
    reason = f"{slug[:100]!r} is no name of a tool: capital letters, digits and _ only"
    return InvalidArguments(f"tool_slug: {reason}", errors=(FieldError("tool_slug", reason),))
