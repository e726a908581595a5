"""Objects of the local store, by signed links: no key is needed, the link itself is the permission."""

import hashlib
import mimetypes
from collections.abc import AsyncIterator
from contextlib import aclosing
from time import time
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sandbox.api.file_bytes import Download, Pieces, received, send_file
from sandbox.api.file_routes import add_bytes
from sandbox.api.services import Given, Services
from sandbox.api.wire import json_response
from sandbox.errors import InvalidRequest, NotFound
from sandbox.upstreams.objects_local import GET, PATH, PUT, LocalObjects, signed_upload

OBJECT: Final = PATH + "/{key}"

_TYPE_CHARS: Final = 200

Md5 = Annotated[str, Query(max_length=32, description="MD5 of the bytes, as the link has it.")]


class ObjectItem(msgspec.Struct, frozen=True):
    """An object that was stored: its key and bytes."""

    key: str
    size: int


def object_routes() -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["objects"])
    add_bytes(router, PATH + "/{key:path}", "link", get=get_object, put=put_object)
    return router


async def get_object(key: str, request: Request, services: Given) -> Response:
    """Give a file that was uploaded. Works with the link's `expires` and `signature`; takes `Range`."""
    objects = _local(services)
    services.links.check(GET, key, request.query_params, time())
    found = await objects.open(key, length=0)

    async def read(start: int, length: int) -> Pieces:
        async with aclosing((await objects.open(key, start=start, length=length)).data) as pieces:
            async for piece in pieces:
                yield piece

    file = Download(key.rsplit("/", 1)[-1], found.content_type, found.size, read)
    return send_file(request, file, silence_s=services.request_timeout_s)


async def put_object(key: str, request: Request, services: Given, md5: Md5 = "") -> Response:
    """Take the bytes of a file for a tool, if they have the MD5 that the link was made for."""
    objects = _local(services)
    services.links.check(PUT, signed_upload(key, md5), request.query_params, time())
    stored = await objects.put(key, _with_md5(received(request), md5), content_type=_content_type(request, key))
    return json_response(ObjectItem(key, stored.size))


def _local(services: Services) -> LocalObjects:
    if not isinstance(services.objects, LocalObjects):
        raise NotFound("this server keeps no objects itself (object_store is not local)")
    return services.objects


async def _with_md5(pieces: AsyncIterator[bytes], expected: str) -> AsyncIterator[bytes]:
    digest = hashlib.md5(usedforsecurity=False)
    async for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != expected:
        raise InvalidRequest(
            f"md5: the bytes have {digest.hexdigest()}, and the link is for {expected}",
            suggested_fix="Send the file whole, or ask for a link with its own MD5.",
        )


def _content_type(request: Request, key: str) -> str:
    named = request.headers.get("content-type", "")
    if "/" in named and len(named) <= _TYPE_CHARS and named.isascii() and named.isprintable():
        return named
    return mimetypes.guess_type(key)[0] or "application/octet-stream"
