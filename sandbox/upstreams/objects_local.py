"""Objects in a folder of the controller, reached by links that it signs and serves itself.

Each object is two files: its bytes, and beside them a small JSON file with type and size, written last: an object
without it does not exist. Files are written and read in threads, piece by piece.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import BinaryIO, Final, TypeVar

import msgspec
import structlog

from sandbox.errors import NotFound, UpstreamRefused, UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.base import OnProgress, StoredObject, UploadLink
from sandbox.upstreams.links import LinkSigner
from sandbox.upstreams.object_keys import check_key

log = structlog.get_logger(__name__)

T = TypeVar("T")

GET: Final = "get-object"
PUT: Final = "put-object"
PATH: Final = "/objects"
_PIECE: Final = MIB
_SWEEP_S: Final = 600.0
_SUFFIX: Final = ".json"


class _Note(msgspec.Struct, frozen=True):
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object that is being read: its type, bytes, and the bytes asked for as they come."""

    content_type: str
    size: int
    data: AsyncGenerator[bytes, None]


class LocalObjects:
    """Stores objects under `folder`.

    `base_url`: gives where clients reach the controller. `link_s`: seconds for which a link works. `keep_s`: seconds
    after which an object is removed. `max_bytes`: what all objects may take together.
    """

    name = "objects (local)"

    def __init__(
        self,
        folder: Path,
        signer: LinkSigner,
        *,
        base_url: Callable[[], str],
        link_s: int,
        keep_s: int,
        max_bytes: int,
        clock: Callable[[], float] = time,
    ) -> None:
        self._folder = folder
        self._signer = signer
        self._base_url = base_url
        self._link_s = link_s
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="objects")
        self._used: int | None = None
        self._drafts: dict[Path, int] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Remove what is too old or was left half written, now and from time to time."""
        await self._thread(self._sweep)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_often())

    async def check(self) -> str:
        """Say how full it is. Raises `UpstreamUnavailable` when the folder cannot be used."""
        used = await self._thread(self._measure)
        return f"{self._folder}: {used / MIB:.0f} of {self._max_bytes / MIB:.0f} MiB used"

    async def put(
        self, key: str, data: AsyncIterable[bytes], *, content_type: str, on_progress: OnProgress | None = None
    ) -> StoredObject:
        """Store an object. See `Objects.put`."""
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        size = 0
        self._drafts[draft] = 0
        try:
            file = await self._thread(_create, draft)
            try:
                async for piece in data:
                    size += len(piece)
                    await self._take_room(draft, size)
                    await self._thread(file.write, piece)
                    if on_progress is not None:
                        on_progress(size, None)
            finally:
                await asyncio.shield(self._thread(file.close))
            await self._thread(_finish, draft, path, _Note(content_type, size))
        except BaseException:
            self._drafts[draft] = 0  # it counts no more, and is no object while it is there
            removing = self._threads.submit(draft.unlink, missing_ok=True)
            removing.add_done_callback(lambda _: self._drafts.pop(draft))
            raise
        self._used = None
        del self._drafts[draft]
        return self._stored(key, _Note(content_type, size))

    async def upload_link(self, key: str, *, md5: str) -> UploadLink:
        """Give a link to upload it by, for bytes of that MD5 only."""
        query = self._signer.sign(PUT, signed_upload(check_key(key), md5), int(self._clock()) + self._link_s)
        return UploadLink(key, f"{self._base_url()}{PATH}/{key}?md5={md5}&{query}")

    async def open(self, key: str, *, start: int = 0, length: int | None = None) -> OpenObject:
        """Read an object from byte `start` on. Raises `NotFound`."""
        path = self._path(key)
        note = await self._thread(self._note, path)
        end = note.size if length is None else min(note.size, start + length)
        return OpenObject(note.content_type, note.size, self._pieces(path, start, end))

    async def aclose(self) -> None:
        """Stop sweeping; let go of the threads."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _pieces(self, path: Path, start: int, end: int) -> AsyncGenerator[bytes, None]:
        file = await self._thread(_open, path)
        try:
            await self._thread(file.seek, start)
            while start < end:
                piece = await self._thread(file.read, min(_PIECE, end - start))
                if not piece:
                    return
                start += len(piece)
                yield piece
        finally:
            file.close()

    def _stored(self, key: str, note: _Note) -> StoredObject:
        expires = int(self._clock()) + self._link_s
        query = self._signer.sign(GET, key, expires)
        return StoredObject(
            key=key,
            location=key,
            url=f"{self._base_url()}{PATH}/{key}?{query}",
            size=note.size,
            content_type=note.content_type,
            expires_at=datetime.fromtimestamp(expires, UTC),
        )

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    @staticmethod
    def _note(path: Path) -> _Note:
        try:
            return msgspec.json.decode(_beside(path).read_bytes(), type=_Note)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            raise NotFound("no such object, or it was removed because of its age") from None

    async def _take_room(self, draft: Path, size: int) -> None:
        """Count what has come of an object. Raises `UpstreamRefused`: with all others and all stored it is too much."""
        self._drafts[draft] = 0
        used = self._used if self._used is not None else await self._thread(self._measure)
        used += sum(list(self._drafts.values()))
        if used + size > self._max_bytes:
            raise UpstreamRefused(
                f"the object store is full: {used} bytes used, this object over {size}, limit {self._max_bytes}",
                suggested_fix="Raise object_store_max_bytes, or wait until older files are removed.",
            )
        self._drafts[draft] = size

    def _measure(self) -> int:
        used = self._used
        if used is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = (path for path in self._folder.rglob("*") if path not in self._drafts)
            self._used = used = sum(_size(path) for path in found)
        return used

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            with suppress(UpstreamUnavailable):
                await self._thread(self._sweep)

    def _sweep(self) -> None:
        oldest = self._clock() - self._keep_s
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):
                if path.is_dir() and path.stat().st_mtime < oldest:
                    shutil.rmtree(path, ignore_errors=True)
        self._used = None

    async def _thread(self, do: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, do, *arguments)
        except (NotFound, UpstreamRefused):
            raise
        except OSError as error:
            raise UpstreamUnavailable(f"the folder of objects cannot be used: {error.strerror or error}") from error


def signed_upload(key: str, md5: str) -> str:
    """Give what a link to upload is signed for."""
    return f"{key}?md5={md5}"


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}{_SUFFIX}")


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.open("xb")


def _size(path: Path) -> int:
    """Give the bytes of a file; of a folder, and of what is gone meanwhile, none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _finish(draft: Path, path: Path, note: _Note) -> None:
    draft.replace(path)
    _beside(path).write_bytes(msgspec.json.encode(note))
