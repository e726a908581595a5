"""Files of the sandbox, read, written, listed and deleted for the controller."""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from sandbox.agent.listing import DRAFT_PREFIX, list_page
from sandbox.agent.naming import meant, shown
from sandbox.agent.removing import Stopped, remove_tree
from sandbox.errors import CallFault
from sandbox.limits import CHUNK_BYTES
from sandbox.pipe.answerer import Answering
from sandbox.pipe.messages import DeleteFile, Done, FileInfo, FileList, ListFiles, ReadFile, WriteFile

_THREADS: Final = 2

_FAULTS: Final = {
    errno.ENOENT: "not_found",
    errno.EISDIR: "not_a_file",
    errno.ENOTDIR: "not_a_file",
    errno.ENXIO: "not_a_file",
    errno.EEXIST: "not_a_file",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EROFS: "permission",
    errno.EBUSY: "permission",
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EFBIG: "no_space",
    errno.ENAMETOOLONG: "invalid",
    errno.ELOOP: "invalid",
    errno.EINVAL: "invalid",
}

P = ParamSpec("P")
T = TypeVar("T")


class Files:
    """Serves the file methods. Every path is absolute; a disk that is slow does not hold up the loop.

    All methods raise CallFault: `not_found`, `not_a_file`, `permission`, `no_space`, `invalid`, `outside` (a link leads
    out of the folder that was named), `changed`, `ambiguous`, `too_deep` or `io`, with the path in the message.
    """

    def __init__(self) -> None:
        # Threads of our own, made at once: user code may use up all processes, and threads count as such.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")
        together = threading.Barrier(_THREADS)
        for _ in range(_THREADS):
            self._threads.submit(together.wait)

    async def read(self, body: ReadFile, call: Answering) -> FileInfo:
        """Send a part of a file as chunks. Of a file that grows, what it had at the start is sent."""
        path = _absolute(body.path)
        if body.offset < 0 or (body.length is not None and body.length < 0):
            raise CallFault("invalid", f"{body.path}: offset and length are not negative")
        with _faults(body.path):
            fd, info = await self._do_opening(_open, lambda opened: os.close(opened[0]), path, body.inside)
            try:
                if body.file_id not in {0, info.file_id}:
                    raise CallFault("changed", f"{body.path}: another file has taken its place")
                end = info.size if body.length is None else min(info.size, body.offset + body.length)
                offset = body.offset
                while offset < end:
                    data = await self._do(os.pread, fd, min(CHUNK_BYTES, end - offset), offset)
                    if not data:
                        break
                    offset += len(data)
                    await call.send(data)
                await call.send(b"", last=True)
            finally:
                os.close(fd)
        return info

    async def write(self, body: WriteFile, chunks: AsyncIterator[bytes]) -> FileInfo:
        """Write a file whole or not at all, or append to it. Its folder is made when there is none."""
        path = _absolute(body.path)
        with _faults(body.path):
            await self._do(_check_target, path, body.inside)
            upload = await self._do_opening(_upload, lambda begun: begun.close(), path, body.append)
            try:
                async for chunk in chunks:
                    await self._do(upload.write, chunk)
                return await self._do(upload.finish)
            finally:
                upload.close()

    async def list(self, body: ListFiles) -> FileList:
        """List one page of the regular files below a folder."""
        path = _absolute(body.path)
        if body.limit < 1:
            raise CallFault("invalid", f"limit is {body.limit}; it must be at least 1")
        with _faults(body.path):
            return await self._do_through(list_page, path, body.prefix, body.after, body.limit)

    async def delete(self, body: DeleteFile) -> Done:
        """Delete a file, a link or a folder with all that is in it."""
        path = _absolute(body.path)
        with _faults(body.path):
            await self._do_through(_delete, path, body.inside)
        return Done()

    async def take_source(self, source: str, max_bytes: int) -> str:
        """Read a file with code or a command and delete it.

        Raises:
            CallFault: also `invalid` when it is larger than `max_bytes` or not UTF-8.
        """
        path = _absolute(source)
        with _faults(source):
            return await self._do(_take_source, path, max_bytes)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and what it works on must not be closed under it.
            await asyncio.wait([task])
            raise

    async def _do_opening(self, work: Callable[..., T], close: Callable[[T], None], *args: Any) -> T:
        """Do what opens something; when its call has ended meanwhile, it is closed again."""
        task = asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            if task.exception() is None:
                close(task.result())
            raise

    async def _do_through(self, work: Callable[..., T], *args: Any) -> T:
        """Do what takes as long as there are files: `work` is told when its call has ended, and ends then."""
        stopped = threading.Event()
        task = asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, stopped.is_set))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([task])
            task.exception()  # marked as seen: nobody waits for it
            raise


class _Replace:
    """Writes beside the target, then takes its place: nobody ever sees half a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary: Path | None = path.with_name(DRAFT_PREFIX + secrets.token_hex(8))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._temporary, flags, 0o644)

    def write(self, data: bytes) -> None:
        _write_all(self._fd, data)

    def finish(self) -> FileInfo:
        assert self._temporary is not None  # noqa: S101 - finish comes once
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(self._fd, stat.S_IMODE(self._path.stat().st_mode))
        self._temporary.replace(self._path)
        self._temporary = None
        return _info(self._path, os.fstat(self._fd))

    def close(self) -> None:
        os.close(self._fd)
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


class _Append:
    """Writes to the end of the target."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)

    def write(self, data: bytes) -> None:
        _write_all(self._fd, data)

    def finish(self) -> FileInfo:
        return _info(self._path, os.fstat(self._fd))

    def close(self) -> None:
        os.close(self._fd)


def _upload(path: Path, append: bool) -> _Replace | _Append:
    return _Append(path) if append else _Replace(path)


@contextlib.contextmanager
def _faults(path: str) -> Iterator[None]:
    """Turn what the system says into faults that name the path."""
    try:
        yield
    except OSError as error:
        name = _FAULTS.get(error.errno or 0, "io")
        raise CallFault(name, f"{path}: {error.strerror or error}") from error


def _absolute(path: str) -> Path:
    if not path.startswith("/") or "\0" in path:
        raise CallFault("invalid", f"{path!r}: not an absolute path")
    return Path(path)


def _check_inside(path: Path, real: str, inside: str | None) -> None:
    """See that `real`, where `path` leads, is the folder `inside` or in it. What code changes meanwhile is its own."""
    folder = os.path.realpath(inside) if inside is not None else "/"
    if not f"{real}/".startswith(f"{folder.rstrip('/')}/"):
        raise CallFault("outside", f"{shown(str(path))}: a link leads out of {inside}")


def _open(path: Path, inside: str | None = None) -> tuple[int, FileInfo]:
    """Open a regular file for reading. Never waits: a FIFO that nobody writes is refused, not opened."""
    fd = os.open(meant(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a regular file")
        if found.st_dev == Path("/proc").stat().st_dev:
            # A link of user code into /proc would show the agent itself, for it is the agent that reads.
            raise PermissionError(errno.EACCES, "not a file of the sandbox")
        # Asked of what is open: a link that is changed now does not matter any more.
        _check_inside(path, str(Path(f"/proc/self/fd/{fd}").readlink()), inside)
    except (OSError, CallFault):
        os.close(fd)
        raise
    return fd, _info(path, found)


def _check_target(path: Path, inside: str | None) -> None:
    """Make the folder of a file that is to be written, and see that nothing but a file is in its place."""
    _check_inside(path, os.path.realpath(path.parent), inside)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a regular file")


def _delete(path: Path, inside: str | None, stopped: Stopped) -> None:
    path = meant(path)
    _check_inside(path, os.path.realpath(path.parent), inside)
    if path.is_dir() and not path.is_symlink():
        remove_tree(path, stopped)
    else:
        path.unlink()


def _take_source(path: Path, max_bytes: int) -> str:
    fd, info = _open(path)
    try:
        if info.size > max_bytes:
            raise CallFault("invalid", f"{path}: {info.size} bytes; a source has at most {max_bytes}")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(max_bytes)
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CallFault("invalid", f"{path}: a source is UTF-8 text; byte {error.start} is not") from error


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _info(path: Path, found: os.stat_result) -> FileInfo:
    return FileInfo(str(path), found.st_size, found.st_mtime, found.st_ino)
