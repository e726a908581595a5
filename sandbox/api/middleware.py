"""The outermost layers of HTTP, as plain ASGI: request id, access log, metrics, the last border, body size."""

import asyncio
import contextlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.api.errors import error_response, internal_error
from sandbox.errors import InternalError, PayloadTooLarge, RequestTooSlow
from sandbox.metrics import Metrics

log = structlog.get_logger(__name__)

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_DISCARD_S: Final = 10.0
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Those that are told apart in log and metrics: a client may send any word as a method."""


class RequestContext:
    """Names each request, logs and counts its answer, and turns what nobody caught into a 500 without details.

    This is the HTTP border: the one place in the API that catches everything.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        status = 0
        state["begun"] = begun = time.perf_counter()

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_named)
            except Exception:
                log.exception("a defect ended a request")
                state["slug"] = InternalError.slug
                if status == 0:
                    response = error_response(internal_error(), request_id, scope["path"])
                    await response(scope, receive, send_named)
            finally:
                self._record(scope, status, time.perf_counter() - begun)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log; status 0 is a client that left before its answer."""
        route = getattr(scope.get("route"), "path", "(none)")
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self._metrics.request(route, method, status, seconds)
        fault = {}
        if (slug := scope["state"].get("slug")) is not None:
            self._metrics.fault("http", slug)
            fault["slug"] = slug
        log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 2), **fault)


@dataclass(frozen=True, slots=True)
class _Bound:
    """What a body has to keep to. `seconds`: for all of it, or for each `piece` of one that is a file."""

    setting: str
    max_bytes: int
    seconds: float
    piece: bool = False


class BodyLimit:
    """Refuses bodies over `max_bytes`, by their announced length or as they come, and those not there in `seconds`.

    A `PUT` brings a file: it may have `max_upload_bytes`, and take its time as long as something comes every `seconds`.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int, seconds: float) -> None:
        self._app = app
        self._body = _Bound("max_body_bytes", max_bytes, seconds)
        self._file = _Bound("max_upload_bytes", max_upload_bytes, seconds, piece=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bound = self._file if scope["method"] == "PUT" else self._body
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > bound.max_bytes:
            if not _header(scope, b"expect"):
                await _discard(receive, bound)
            error = _too_large(bound)
            scope["state"]["slug"] = error.slug
            response = error_response(error, scope["state"]["request_id"], scope["path"])
            response.headers["connection"] = "close"
            await response(scope, receive, send)
            return
        await self._app(scope, _counted(receive, bound), send)


def _counted(receive: Receive, bound: _Bound) -> Receive:
    taken = 0
    whole = False
    clock = asyncio.get_running_loop().time
    late_at = clock() + bound.seconds

    async def receive_counted() -> Message:
        nonlocal taken, whole
        if whole:  # what comes now is the client's leaving, some time
            return await receive()
        try:
            async with asyncio.timeout_at(clock() + bound.seconds if bound.piece else late_at):
                message = await receive()
        except TimeoutError:
            raise _too_slow(bound) from None
        taken += len(message.get("body", b""))
        whole = not message.get("more_body")
        if taken > bound.max_bytes:
            if not whole:
                await _discard(receive, bound)
            raise _too_large(bound)
        return message

    return receive_counted


def _too_slow(bound: _Bound) -> RequestTooSlow:
    what = "Nothing more of the file came for" if bound.piece else "The body was not there after"
    return RequestTooSlow(
        f"{what} {bound.seconds:g} s", suggested_fix="Send faster or less, or raise the setting request_timeout_s."
    )


def _too_large(bound: _Bound) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is over the limit of {bound.max_bytes} bytes",
        suggested_fix=f"Send less, or raise the setting {bound.setting}.",
    )


async def _discard(receive: Receive, bound: _Bound) -> None:
    """Read on for a while: a client that is still sending would see a broken connection, not the answer."""
    left = 4 * bound.max_bytes
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id").decode("latin-1")
    return given if _SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _header(scope: Scope, name: bytes) -> bytes:
    value: bytes
    for key, value in scope["headers"]:
        if key == name:
            return value
    return b""
