"""Files of the sandbox to the object store: `upload_local_file`, `get_mount_file_url`, `get_mount_file_s3_key`."""

import mimetypes
import posixpath
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec

from sandbox.errors import CallFault, InvalidArguments, NotFound, UpstreamNotConfigured, UpstreamRefused
from sandbox.gateway.budget import Kind
from sandbox.gateway.methods.base import Arguments, Method, Sending
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import Objects, StoredObject
from sandbox.upstreams.object_keys import new_key

UPLOAD_TIMEOUT_S: Final = 3600.0
"""An upload of any size has to fit in this, and in what its execution has left."""

_PATH_CHARS: Final = 4096
_BINARY: Final = "application/octet-stream"


class UploadArguments(Arguments, frozen=True):
    """`path`: absolute, in the sandbox. `name`: what the file is called outside."""

    path: str
    name: str
    content_type: str | None = None


class MountArguments(Arguments, frozen=True):
    """`path`: absolute; the helper has seen to it that it lies below the folder of the session's files."""

    path: str


@dataclass(frozen=True, slots=True)
class _Uploads(Method[UploadArguments, StoredObject]):
    """What these helpers have in common. `objects` None: no store is configured."""

    objects: Objects | None
    timeout_s: float | None = UPLOAD_TIMEOUT_S

    def target(self, arguments: UploadArguments) -> str:
        """Give the path."""
        return arguments.path

    def ready(self, arguments: UploadArguments) -> None:
        """Raise `UpstreamNotConfigured` without a store, `InvalidArguments` for a path that cannot be."""
        if self.objects is None:
            raise UpstreamNotConfigured(
                f"{self.name} needs an object store: `object_store` is `none` (WORKBENCH_OBJECT_STORE: local or s3)"
            )
        if not arguments.path.startswith("/") or "\x00" in arguments.path or len(arguments.path) > _PATH_CHARS:
            raise InvalidArguments(f"{self.name}: path: {arguments.path[:100]!r} is no absolute path")

    async def send(self, arguments: UploadArguments, sending: Sending) -> StoredObject:
        """Stream the file to the store. What came is charged while it comes."""
        if self.objects is None or sending.files is None:
            raise UpstreamNotConfigured(f"{self.name} is for code in a sandbox")
        key = new_key(sending.principal.session_id, arguments.name)
        try:
            return await self.objects.put(
                key,
                _charged(arguments.path, sending),
                content_type=_content_type(arguments),
                on_progress=sending.on_progress,
            )
        except CallFault as fault:
            if fault.fault == "not_found":
                raise NotFound(f"{self.name}: there is no file {arguments.path}") from None
            raise UpstreamRefused(f"{self.name}: {arguments.path} cannot be read: {fault.message}") from None

    @abstractmethod
    def answer(self, result: StoredObject) -> HelperAnswer:
        """Say what the helper returns."""


@dataclass(frozen=True, slots=True)
class UploadLocalFile(_Uploads):
    """`upload_local_file`: any file of the sandbox."""

    name: ClassVar[str] = "upload_local_file"
    arguments = UploadArguments

    def answer(self, result: StoredObject) -> HelperAnswer:
        """Give the link and the key under all names that clients know."""
        until = f"{result.expires_at:%Y-%m-%d %H:%M} UTC"
        return _json(
            {
                "s3_url": result.url,
                "uploaded_file": True,
                "type": result.content_type,
                "id": result.key,
                "s3key": result.location,
                "key": result.location,
                "message": f"Uploaded {result.size:,} bytes. The link works until {until}.",
            }
        )


@dataclass(frozen=True, slots=True)
class _MountUploads(_Uploads):
    """Files of the session's folder, by their path alone."""

    arguments = MountArguments

    def read(self, raw: msgspec.Raw) -> UploadArguments:
        """Read the path, and take the file's own name for outside. Raises `InvalidArguments`."""
        path: str = Method.read(self, raw).path
        return UploadArguments(path, posixpath.basename(path))


@dataclass(frozen=True, slots=True)
class GetMountFileUrl(_MountUploads):
    """`get_mount_file_url`: a link to the file as it is now."""

    name: ClassVar[str] = "get_mount_file_url"

    def answer(self, result: StoredObject) -> HelperAnswer:
        """Give the link."""
        return _json({"url": result.url})


@dataclass(frozen=True, slots=True)
class GetMountFileKey(_MountUploads):
    """`get_mount_file_s3_key`: the key of the file as it is now, to hand it to a tool."""

    name: ClassVar[str] = "get_mount_file_s3_key"

    def answer(self, result: StoredObject) -> HelperAnswer:
        """Give the key."""
        return _json({"s3key": result.location})


async def _charged(path: str, sending: Sending) -> AsyncIterator[bytes]:
    if sending.files is None:
        return
    async for piece in sending.files.read(path, timeout_s=sending.timeout_s):
        sending.meter.spend(Kind.UPLOAD_BYTES, len(piece))
        yield piece


def _content_type(arguments: UploadArguments) -> str:
    """Give the type that was named, when it can be one, else what the name's ending says."""
    named = arguments.content_type
    if named and len(named) <= 200 and named.isascii() and named.isprintable() and "/" in named:
        return named
    return mimetypes.guess_type(arguments.name)[0] or _BINARY


def _json(thing: dict[str, object]) -> HelperAnswer:
    return HelperAnswer(msgspec.Raw(msgspec.json.encode(thing)))
