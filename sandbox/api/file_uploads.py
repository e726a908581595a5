"""Files that clients upload to hand them to a tool: a place in the object store, and a link to put them there."""

import re
import secrets
from typing import Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from sandbox.api.services import Given, Owner
from sandbox.api.tool_router.routing import PREFIXES, Routes
from sandbox.api.wire import json_response, read_object
from sandbox.errors import FieldError, InvalidArguments, UpstreamNotConfigured
from sandbox.upstreams.object_keys import new_key

_PATH: Final = "/files/upload/request"
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")
_CHARS: Final = 500
_FOLDER: Final = "uploads"


class UploadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A file and the tool that it is for. `md5`: of its bytes, 32 hexadecimal digits."""

    md5: str
    filename: str
    mimetype: str
    tool_slug: str
    toolkit_slug: str


class Storage(msgspec.Struct, frozen=True):
    """How the link wants the bytes: `s3` stands for a plain `PUT`."""

    storage_backend: Literal["s3"] = "s3"


class UploadPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where to `PUT` the bytes, which is answered with 200. `key`: what a tool takes as `s3key`."""

    id: str
    key: str
    type: Literal["new"] = "new"
    new_presigned_url: str
    newPresignedUrl: str  # noqa: N815 - the contract's second name of it
    metadata: Storage = Storage()


def upload_routes() -> list[APIRouter]:
    """Make the route, under every version of the contract."""
    made = []
    for prefix in PREFIXES:
        routes = Routes(prefix, "files")
        routes.add("POST", _PATH, request_upload, "Get a link to upload a file for a tool")
        made.append(routes.router)
    return made


async def request_upload(request: Request, _owner: Owner, services: Given) -> Response:
    """Give a key and a link to `PUT` the bytes to. The local object store takes only bytes of that MD5."""
    asked = _read(await read_object(request))
    objects = services.objects
    if objects is None:
        raise UpstreamNotConfigured(
            "Uploads need an object store: `object_store` is `none` (WORKBENCH_OBJECT_STORE: local or s3)"
        )
    place = await objects.upload_link(new_key(_FOLDER, asked.filename), md5=asked.md5.lower())
    return json_response(
        UploadPlace(
            id=f"req_file_{secrets.token_urlsafe(9)}",
            key=place.location,
            new_presigned_url=place.url,
            newPresignedUrl=place.url,
        )
    )


def _read(body: dict[str, Any]) -> UploadRequest:
    """Read the body. Raises `InvalidArguments` with every field that is wrong."""
    errors = []
    for name in UploadRequest.__struct_fields__:
        value = body.get(name)
        if not isinstance(value, str):
            errors.append(FieldError(name, "Required: a string"))
        elif not 0 < len(value) <= _CHARS:
            errors.append(FieldError(name, f"has to have from 1 to {_CHARS} characters"))
        elif name == "md5" and not _MD5.fullmatch(value):
            errors.append(FieldError(name, "has to be 32 hexadecimal digits"))
    if errors:
        message = f'Validation error: {errors[0].reason} at "{errors[0].path}"'
        raise InvalidArguments(message, errors=tuple(errors))
    return UploadRequest(**{name: body[name] for name in UploadRequest.__struct_fields__})


EXAMPLES: Final[dict[type, dict[str, Any]]] = {
    UploadRequest: {
        "report": {
            "summary": "A document for a tool that sends mail",
            "value": {
                "md5": "9e107d9d372bb6826bd81d3542a419d6",
                "filename": "report.pdf",
                "mimetype": "application/pdf",
                "tool_slug": "GMAIL_SEND_EMAIL",
                "toolkit_slug": "gmail",
            },
        }
    }
}

SHAPES: Final[dict[tuple[str, str], tuple[type | None, type | None]]] = {
    ("post", prefix + _PATH): (UploadRequest, UploadPlace) for prefix in PREFIXES
}
