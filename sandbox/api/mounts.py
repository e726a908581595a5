"""Files of a session as the Composio contract has them: a mount, links that work without a key, lists, deletion."""

from datetime import UTC, datetime
from time import time
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Path, Query, Request
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from sandbox.api.file_paths import check_path, check_prefix, make_cursor, read_cursor
from sandbox.api.services import Given, Owner, Services
from sandbox.api.session_files import SessionFiles, modified_at
from sandbox.api.tool_router.routing import PREFIXES, SESSION, Ref, Routes
from sandbox.api.wire import json_response, optional_text, read_object
from sandbox.errors import NotFound
from sandbox.limits import FILES_DIR
from sandbox.pipe.messages import FileInfo
from sandbox.sessions.session import Session

MOUNT: Final = "files"
FIELD: Final = "mount_relative_path"
LINKS: Final = "/mounts"
"""Path under which signed links lead to files."""

GET: Final = "get-file"
PUT: Final = "put-file"

MountId = Annotated[str, Path(max_length=200, description=f"The mount: `{MOUNT}`, the folder {FILES_DIR}.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Files on the page, at most.")]
Cursor = Annotated[str | None, Query(max_length=8_000, description="`next_cursor` of the page before.")]


class UploadLinkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The file to upload: its path below /mnt/files, in which folders are made as needed, and its type."""

    mount_relative_path: str
    mimetype: str | None = None


class FileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The file that is meant: its path below /mnt/files."""

    mount_relative_path: str


class UploadLink(msgspec.Struct, frozen=True, kw_only=True):
    """Where to `PUT` the file's bytes, and until when."""

    upload_url: str
    mount_relative_path: str
    sandbox_mount_prefix: str
    expires_at: str


class DownloadLink(msgspec.Struct, frozen=True, kw_only=True):
    """Where to `GET` the file's bytes, and until when."""

    download_url: str
    mount_relative_path: str
    sandbox_mount_prefix: str
    expires_at: str


class FileItem(msgspec.Struct, frozen=True, kw_only=True):
    """A file: its path below the folder, bytes, and when it was changed."""

    mount_relative_path: str
    sandbox_mount_prefix: str
    size: int
    last_modified: str


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """Files in the order of their paths. `next_cursor` is there only when there are more."""

    items: list[FileItem]
    next_cursor: str | UnsetType = UNSET


class FileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a folder, that is no more."""

    mount_relative_path: str
    sandbox_mount_prefix: str


def mount_routes() -> list[APIRouter]:
    """Make the routes, under every version of the contract."""
    made = []
    for prefix in PREFIXES:
        routes = Routes(f"{prefix}{SESSION}/mounts/{{mount}}", "files")
        routes.add("POST", "/upload_url", create_upload_link, "Get a link to upload a file of a session")
        routes.add("POST", "/download_url", create_download_link, "Get a link to download a file of a session")
        routes.add("GET", "/items", list_mount_items, "List the files of a session")
        routes.add("POST", "/delete", delete_mount_item, "Delete a file of a session")
        made.append(routes.router)
    return made


async def create_upload_link(
    session_id: Ref, mount: MountId, request: Request, owner: Owner, services: Given
) -> Response:
    """Give a link to `PUT` the bytes of a file to, whatever their number. Nothing is written before they are there."""
    body = await read_object(request)
    path = check_path(body.get(FIELD), FIELD)
    optional_text(body, "mimetype")
    session = await mounted(services, owner, session_id, mount)
    SessionFiles(services.manager, session, FIELD)
    url, expires_at = _link(request, services, PUT, session, path)
    return json_response(
        UploadLink(
            upload_url=url, mount_relative_path=path, sandbox_mount_prefix=FILES_DIR, expires_at=_iso(expires_at)
        )
    )


async def create_download_link(
    session_id: Ref, mount: MountId, request: Request, owner: Owner, services: Given
) -> Response:
    """Give a link to `GET` the bytes of a file, as it is when they are fetched. 404: there is no such file now."""
    path = check_path((await read_object(request)).get(FIELD), FIELD)
    session = await mounted(services, owner, session_id, mount)
    await SessionFiles(services.manager, session, FIELD).stat(path)
    url, expires_at = _link(request, services, GET, session, path)
    return json_response(
        DownloadLink(
            download_url=url, mount_relative_path=path, sandbox_mount_prefix=FILES_DIR, expires_at=_iso(expires_at)
        )
    )


async def list_mount_items(
    session_id: Ref,
    mount: MountId,
    owner: Owner,
    services: Given,
    *,
    limit: Limit = 100,
    cursor: Cursor = None,
    mount_relative_prefix: Annotated[
        str, Query(max_length=4_096, description="Beginning of the paths that are listed.")
    ] = "",
) -> Response:
    """List files, a page at a time; what code writes is there at once. Links are not followed and not listed."""
    session = await mounted(services, owner, session_id, mount)
    files = SessionFiles(services.manager, session, "mount_relative_prefix")
    return await listed(files, mount_relative_prefix, limit, cursor)


async def delete_mount_item(
    session_id: Ref, mount: MountId, request: Request, owner: Owner, services: Given
) -> Response:
    """Delete a file, or a folder with all that is in it. 404: there is none."""
    path = check_path((await read_object(request)).get(FIELD), FIELD)
    session = await mounted(services, owner, session_id, mount)
    return await deleted(SessionFiles(services.manager, session, FIELD), path)


async def mounted(services: Services, owner: str, ref: str, mount: str) -> Session:
    """Give the session that has this mount. Raises `NotFound` for either."""
    session = await services.manager.get(owner, ref)
    check_mount(mount)
    return session


def check_mount(mount: str) -> None:
    """Raise `NotFound` for a mount that no session has."""
    if mount != MOUNT:
        raise NotFound(f"There is no mount {mount!r}", suggested_fix=f"Use the mount {MOUNT!r}.")


async def listed(files: SessionFiles, prefix: str, limit: int, cursor: str | None) -> Response:
    """Answer with a page of files."""
    after = read_cursor(cursor, "cursor") if cursor else ""
    page = await files.list(check_prefix(prefix, files.field), after=after, limit=limit)
    following = make_cursor(page.next_after) if page.next_after else UNSET
    return json_response(FilePage(items=[file_item(each.path, each) for each in page.files], next_cursor=following))


async def deleted(files: SessionFiles, path: str) -> Response:
    """Delete, and say so."""
    await files.delete(path)
    return json_response(FileDeleted(mount_relative_path=path, sandbox_mount_prefix=FILES_DIR))


def file_item(path: str, info: FileInfo) -> FileItem:
    """Compose what the wire says of a file."""
    return FileItem(
        mount_relative_path=path,
        sandbox_mount_prefix=FILES_DIR,
        size=max(0, info.size),
        last_modified=_iso(modified_at(info)),
    )


def signed_path(session_id: str, mount: str, path: str) -> str:
    """Give what a link to a file is signed for."""
    return f"{session_id}/{mount}/{path}"


def _link(request: Request, services: Services, action: str, session: Session, path: str) -> tuple[str, datetime]:
    """Make a link. It leads to where clients reach the server: the setting, else where this request came to."""
    expires = int(time()) + services.link_s
    meant = signed_path(session.id, MOUNT, path)
    base = services.public_url or str(request.base_url).rstrip("/")
    url = f"{base}{LINKS}/{quote(meant)}?{services.links.sign(action, meant, expires)}"
    return url, datetime.fromtimestamp(expires, UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_REPORT: Final = {"summary": "A file in a folder", "value": {FIELD: "reports/2026.csv"}}

EXAMPLES: Final[dict[type, dict[str, Any]]] = {
    UploadLinkRequest: {
        "report": {"summary": "A table", "value": {FIELD: "reports/2026.csv", "mimetype": "text/csv"}},
    },
    FileRequest: {"report": _REPORT},
}

SHAPES: Final[dict[tuple[str, str], tuple[type | None, type | None]]] = {
    (method, f"{prefix}{SESSION}/mounts/{{mount}}/{name}"): shape
    for prefix in PREFIXES
    for method, name, shape in (
        ("post", "upload_url", (UploadLinkRequest, UploadLink)),
        ("post", "download_url", (FileRequest, DownloadLink)),
        ("get", "items", (None, FilePage)),
        ("post", "delete", (FileRequest, FileDeleted)),
    )
}
