"""The outermost layers of HTTP, as plain ASGI: request id, access log, metrics, the last border, body size."""

import re
import secrets
import time
from typing import Final

import anyio
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
                status = message["status"]
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


class BodyLimit:
    """Refuses bodies over `max_bytes`, by their announced length or as they come, and those not there in `seconds`."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > self._max_bytes:
            if not _header(scope, b"expect"):
                await self._discard(receive)
            error = self._too_large()
            scope["state"]["slug"] = error.slug
            response = error_response(error, scope["state"]["request_id"], scope["path"])
            response.headers["connection"] = "close"
            await response(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        taken = 0
        whole = False
        late_at = anyio.current_time() + self._seconds

        async def receive_counted() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is the client's leaving, some time
                return await receive()
            try:
                with anyio.fail_after(late_at - anyio.current_time()):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow() from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body")
            if taken > self._max_bytes:
                await self._discard(receive)
                raise self._too_large()
            return message

        return receive_counted

    def _too_slow(self) -> RequestTooSlow:
        return RequestTooSlow(
            f"The body was not there after {self._seconds:g} s",
            suggested_fix="Send faster or less, or raise the setting request_timeout_s.",
        )

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The body is over the limit of {self._max_bytes} bytes",
            suggested_fix="Send less, or raise the setting max_body_bytes.",
        )

    async def _discard(self, receive: Receive) -> None:
        """Read on for a while: a client that is still sending would see a broken connection, not the answer."""
        left = 4 * self._max_bytes
        with anyio.move_on_after(_DISCARD_S):
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
