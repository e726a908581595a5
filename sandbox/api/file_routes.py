"""Routes of files' bytes: by signed link without a key, and with a key under the mount and under /v1/sessions."""

from collections.abc import Callable
from time import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sandbox.api.exact_route import ExactRoute
from sandbox.api.file_bytes import received, send_file
from sandbox.api.file_paths import check_path
from sandbox.api.mounts import (
    GET,
    LINKS,
    PUT,
    Cursor,
    FileDeleted,
    FileItem,
    FilePage,
    Limit,
    MountId,
    deleted,
    file_item,
    listed,
    mounted,
    signed_path,
)
from sandbox.api.services import Given, Owner, Services
from sandbox.api.session_files import SessionFiles
from sandbox.api.tool_router.routing import PREFIXES, SESSION, Ref, version_of
from sandbox.api.wire import json_response

_BINARY: Final[dict[str, Any]] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
BYTES_IN: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": _BINARY}}
BYTES_OUT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The bytes of the file", "content": _BINARY},
    206: {"description": "Those that `Range` asks for", "content": _BINARY},
    304: {"description": "The client has them: `If-None-Match` names their `ETag`"},
}

SIGNED: Final = LINKS + "/{session_id}/{mount}/{path}"
_CONTENT: Final = SESSION + "/mounts/{mount}/content"
_FILES: Final = "/v1/sessions/{ref}/files"

FilePath = Annotated[str, Query(max_length=4_096, description="Path of the file below /mnt/files.")]


def file_routes() -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["files"], route_class=ExactRoute)
    router.add_api_route(_FILES, list_files, methods=["GET"], summary="List the files of a session")
    add_bytes(router, _FILES + "/{path:path}", "v1", get=get_file, put=put_file, delete=delete_file)
    for prefix in PREFIXES:
        add_bytes(
            router, prefix + _CONTENT, version_of(prefix), get=get_content, put=put_content, delete=delete_content
        )
    add_bytes(router, LINKS + "/{session_id}/{mount}/{path:path}", "link", get=get_linked, put=put_linked)
    return router


def add_bytes(
    router: APIRouter,
    path: str,
    named: str,
    *,
    get: Callable[..., Any],
    put: Callable[..., Any],
    delete: Callable[..., Any] | None = None,
) -> None:
    """Add what can be done with the bytes at a path. HEAD is answered as GET is."""

    def add(method: str, handler: Callable[..., Any], summary: str, **documented: Any) -> None:
        name = f"{handler.__name__}_{named}"
        router.add_api_route(
            path,
            handler,
            methods=[method],
            summary=summary,
            operation_id=name,
            response_class=Response,
            **documented,
        )

    add("GET", get, "Download a file", responses=BYTES_OUT)
    add("HEAD", get, "Say how large a file is", include_in_schema=False)
    add("PUT", put, "Upload a file", openapi_extra=BYTES_IN)
    if delete is not None:
        add("DELETE", delete, "Delete a file")


# --- by a signed link: the link itself is the permission ----------------------------------------------------------


async def get_linked(session_id: str, mount: str, path: str, request: Request, services: Given) -> Response:
    """Give the bytes of a file to whoever has a link that was signed for it. Takes `Range`."""
    return await _send(request, services, await _linked(GET, session_id, mount, path, request, services), path)


async def put_linked(session_id: str, mount: str, path: str, request: Request, services: Given) -> Response:
    """Take the bytes of a file from whoever has a link that was signed for it."""
    return await _take(request, await _linked(PUT, session_id, mount, path, request, services), path)


async def _linked(  # noqa: PLR0917 - the parts of a link, in their order
    action: str, session_id: str, mount: str, path: str, request: Request, services: Services
) -> SessionFiles:
    services.links.check(action, signed_path(session_id, mount, path), request.query_params, time())
    session = await services.manager.linked(session_id)
    return SessionFiles(services.manager, session, "path")


# --- with a key, by mount ------------------------------------------------------------------------------------------


async def get_content(
    session_id: Ref, mount: MountId, path: FilePath, *, request: Request, owner: Owner, services: Given
) -> Response:
    """Give the bytes of a file. Takes `Range`, `If-Range` and `If-None-Match`."""
    return await _send(request, services, await _mounted(session_id, mount, owner, services), path)


async def put_content(
    session_id: Ref, mount: MountId, path: FilePath, *, request: Request, owner: Owner, services: Given
) -> Response:
    """Write a file, whole or not at all. Folders are made; a file that is there is replaced."""
    return await _take(request, await _mounted(session_id, mount, owner, services), path)


async def delete_content(session_id: Ref, mount: MountId, path: FilePath, owner: Owner, services: Given) -> Response:
    """Delete a file, or a folder with all that is in it."""
    return await deleted(await _mounted(session_id, mount, owner, services), check_path(path, "path"))


async def _mounted(session_id: str, mount: str, owner: str, services: Services) -> SessionFiles:
    return SessionFiles(services.manager, await mounted(services, owner, session_id, mount), "path")


# --- with a key, by session ----------------------------------------------------------------------------------------


async def list_files(
    ref: Ref,
    owner: Owner,
    services: Given,
    *,
    limit: Limit = 100,
    cursor: Cursor = None,
    prefix: Annotated[str, Query(max_length=4_096, description="Beginning of the paths that are listed.")] = "",
) -> Response:
    """List files, a page at a time, in the order of their paths."""
    files = SessionFiles(services.manager, await services.manager.get(owner, ref), "prefix")
    return await listed(files, prefix, limit, cursor)


async def get_file(ref: Ref, path: str, request: Request, owner: Owner, services: Given) -> Response:
    """Give the bytes of a file. Takes `Range`, `If-Range` and `If-None-Match`."""
    return await _send(request, services, await _owned(ref, owner, services), path)


async def put_file(ref: Ref, path: str, request: Request, owner: Owner, services: Given) -> Response:
    """Write a file, whole or not at all. Folders are made; a file that is there is replaced."""
    return await _take(request, await _owned(ref, owner, services), path)


async def delete_file(ref: Ref, path: str, owner: Owner, services: Given) -> Response:
    """Delete a file, or a folder with all that is in it."""
    return await deleted(await _owned(ref, owner, services), check_path(path, "path"))


async def _owned(ref: str, owner: str, services: Services) -> SessionFiles:
    return SessionFiles(services.manager, await services.manager.get(owner, ref), "path")


# --- what all of them do -------------------------------------------------------------------------------------------


async def _send(request: Request, services: Services, files: SessionFiles, path: str) -> Response:
    file = await files.download(check_path(path, "path"))
    return send_file(request, file, silence_s=services.request_timeout_s)


async def _take(request: Request, files: SessionFiles, path: str) -> Response:
    path = check_path(path, "path")
    return json_response(file_item(path, await files.write(path, received(request))))


SHAPES: Final[dict[tuple[str, str], tuple[type | None, type | None]]] = {
    ("get", _FILES): (None, FilePage),
    ("put", _FILES + "/{path}"): (None, FileItem),
    ("delete", _FILES + "/{path}"): (None, FileDeleted),
    ("put", SIGNED): (None, FileItem),
    **{("put", prefix + _CONTENT): (None, FileItem) for prefix in PREFIXES},
    **{("delete", prefix + _CONTENT): (None, FileDeleted) for prefix in PREFIXES},
}
