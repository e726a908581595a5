"""Uvicorn's HTTP protocol with what it lacks: bounds on how long, and how large, the head of a request may be."""

import asyncio
import secrets
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.api.errors import error_response
from sandbox.errors import InvalidRequest
from sandbox.limits import KIB

HEAD_MAX_BYTES: Final = 64 * KIB


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection that brings no whole head in time: it would hold a descriptor for ever."""

    head_s: float = 60.0
    _late_at: float | None = None
    _watch: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Expect a head from the first moment on."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._head_came()
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the head is whole."""
        if self._late_at is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._late_at is not None and self._head_bytes > HEAD_MAX_BYTES:
            self.send_400_response(f"The head of the request is over {HEAD_MAX_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Expect the head of the next request of a connection too."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole: the body has bounds of its own."""
        self._head_came()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the envelope of all errors, and close."""
        self._head_came()
        request_id = f"req_{secrets.token_hex(12)}"
        response = error_response(InvalidRequest(msg), request_id, "")
        response.headers.update({"x-request-id": request_id, "connection": "close"})
        head = b"".join(b"%s: %s\r\n" % pair for pair in response.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(response.body))
        self.transport.close()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._late_at = self.loop.time() + self.head_s
        if self._watch is None:
            self._watch = self.loop.call_at(self._late_at, self._look)

    def _head_came(self) -> None:
        self._head_bytes = 0
        self._late_at = None

    def _look(self) -> None:
        """Close what is late. One timer a connection: to set one for each request would cost each of them."""
        self._watch = None
        if self._late_at is None:
            return
        if self.loop.time() >= self._late_at:
            self.transport.abort()
        else:
            self._watch = self.loop.call_at(self._late_at, self._look)


def bounded_http(head_s: float) -> type[HttpToolsProtocol]:
    """Make the protocol class for a server. `head_s`: seconds from a request's first byte to the end of its head."""
    return type("BoundedHttp", (BoundedHttp,), {"head_s": head_s})
