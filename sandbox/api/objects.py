"""Objects of the local store, by signed links: no key is needed, the link itself is the permission."""

import re
from time import time
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from sandbox.api.services import Given
from sandbox.errors import NotFound
from sandbox.upstreams.objects_local import GET, PATH, LocalObjects, OpenObject

_RANGE: Final = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


def object_routes() -> APIRouter:
    """Make the route."""
    router = APIRouter(tags=["objects"])
    router.add_api_route(
        PATH + "/{key:path}", get_object, methods=["GET"], summary="Download an uploaded file", response_class=Response
    )
    return router


async def get_object(key: str, request: Request, services: Given) -> Response:
    """Give a file that `upload_local_file` stored. Works with the link's `expires` and `signature`; takes `Range`."""
    objects = services.objects
    if not isinstance(objects, LocalObjects):
        raise NotFound("this server keeps no objects itself (object_store is not local)")
    services.links.check(GET, key, request.query_params, time())
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    start = int(asked[1]) if asked else 0
    length = int(asked[2]) - start + 1 if asked and asked[2] else None
    if asked and length is not None and length <= 0:
        asked, start, length = None, 0, None
    return _answer(key, await objects.open(key, start=start, length=length), start, length, partial=asked is not None)


def _answer(key: str, found: OpenObject, start: int, length: int | None, *, partial: bool) -> Response:
    end = found.size if length is None else min(found.size, start + length)
    # Nothing that a sandbox made may run as a page of this server.
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(key.rsplit('/', 1)[-1])}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    if partial and start >= found.size:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(
        found.data, status_code=206 if partial else 200, media_type=found.content_type, headers=headers
    )
