"""Bytes of files, out and in, as streams: never more than a few pieces of them are in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final, TypeAlias
from urllib.parse import quote

import structlog
from fastapi import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from sandbox.api.byte_ranges import Span, asked_span, is_known
from sandbox.api.errors import error_response, request_id_of
from sandbox.errors import RangeNotSatisfiable, WorkbenchError
from sandbox.limits import CHUNK_BYTES

log = structlog.get_logger(__name__)

TRANSFER_S: Final = 86_400.0
"""The longest that one file may take. Far sooner ends one whose client is silent, see `request_timeout_s`."""

Pieces: TypeAlias = AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Download:
    """A file that can be sent. `read`: gives bytes from a start on, so many of them. `etag`: with its quotes."""

    name: str
    content_type: str
    size: int
    read: Callable[[int, int], Pieces]
    etag: str | None = None
    modified: datetime | None = None


def send_file(request: Request, file: Download, *, silence_s: float) -> Response:
    """Answer with a file, or the part that `Range` asks for; to HEAD with its headers alone.

    `silence_s`: seconds for which a client may take nothing before its connection is closed.
    """
    headers = _headers(file)
    if is_known(request.headers, file.etag):
        return Response(status_code=304, headers=headers)
    span = asked_span(request.headers, file.size, file.etag)
    if span is None:
        return _not_satisfiable(request, file)
    if not span.whole:
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{file.size}"
    headers["Content-Length"] = str(span.length)
    headers["Content-Type"] = file.content_type
    status = 200 if span.whole else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return _Sending(_exactly(file, span), status, headers, silence_s=silence_s)


async def received(request: Request) -> AsyncIterator[bytes]:
    """Give the body of a request in pieces of CHUNK_BYTES as it comes.

    Raises:
        ClientDisconnect: the client left before it was whole.
        PayloadTooLarge: it is over `max_upload_bytes`.
        RequestTooSlow: nothing came for `request_timeout_s`.
    """
    gathered = bytearray()
    async for piece in request.stream():
        gathered += piece
        while len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered[:CHUNK_BYTES])
            del gathered[:CHUNK_BYTES]
    if gathered:
        yield bytes(gathered)


class _Sending(StreamingResponse):
    """A file that is being sent. What goes wrong on the way closes the connection: the client sees that it is cut."""

    def __init__(self, pieces: Pieces, status: int, headers: dict[str, str], *, silence_s: float) -> None:
        super().__init__(pieces, status_code=status, headers=headers, media_type=headers["Content-Type"])
        self._pieces = pieces
        self._silence_s = silence_s

    async def stream_response(self, send: Send) -> None:
        """Send it all, or break off without an end."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._silence_s):
                await send(message)

        try:
            async with aclosing(self._pieces):
                await super().stream_response(send_in_time)
        except WorkbenchError as error:
            log.warning("a download broke off", slug=error.slug, words=str(error))
        except TimeoutError:
            log.warning("a download broke off: its client took nothing", seconds=self._silence_s)


async def _exactly(file: Download, span: Span) -> Pieces:
    """Give the bytes of a span; what a sandbox sends beyond them is left out."""
    left = span.length
    async with aclosing(file.read(span.start, span.length)) as pieces:
        async for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return
    if left > 0:
        raise WorkbenchError(f"{left} bytes at the end of the file are not there any more")


def _headers(file: Download) -> dict[str, str]:
    # Nothing that a sandbox made may run as a page of this server.
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache" if file.etag else "private, no-store",
    }
    if file.etag is not None:
        headers["ETag"] = file.etag
    if file.modified is not None:
        headers["Last-Modified"] = format_datetime(file.modified, usegmt=True)
    return headers


def _not_satisfiable(request: Request, file: Download) -> Response:
    asked = request.headers.get("range", "")[:100]
    error = RangeNotSatisfiable(f"Range {asked!r}: {file.name} has {file.size} bytes")
    request.scope["state"]["slug"] = error.slug
    response = error_response(error, request_id_of(request), request.url.path)
    response.headers["Content-Range"] = f"bytes */{file.size}"
    return response
