"""Files are read, written, listed and deleted whole, bounded, and with faults that name the path."""

import asyncio
import os
import resource
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox.agent.files import Files
from sandbox.agent.removing import DEPTH_MAX
from sandbox.errors import CallFault
from sandbox.limits import CHUNK_BYTES
from sandbox.pipe.messages import DeleteFile, FileInfo, FileList, ListFiles, Method, Progress, ReadFile, WriteFile
from tests.agent.kernels import listed, until

pytestmark = pytest.mark.anyio


class Reading:
    """The reading end of a call: collects the chunks."""

    id = "call"
    timeout_s = 10.0
    live = False

    def __init__(self, body: Method) -> None:
        self.body = body
        self.sent: list[bytes] = []
        self.ended = False

    def event(self, body: Progress) -> None:
        raise AssertionError(body)

    def on_cancel(self, callback: object) -> None:
        raise AssertionError(callback)

    async def send(self, data: bytes, *, last: bool = False) -> None:
        assert not self.ended
        assert len(data) <= CHUNK_BYTES
        self.sent.append(data)
        self.ended = last

    def chunks(self) -> AsyncIterator[bytes]:
        raise AssertionError


@pytest.fixture
def files() -> Iterator[Files]:
    served = Files()
    yield served
    served.close()


async def read(files: Files, path: Path | str, offset: int = 0, length: int | None = None) -> tuple[FileInfo, bytes]:
    body = ReadFile(str(path), offset, length)
    call = Reading(body)
    info = await files.read(body, call)
    assert call.ended
    return info, b"".join(call.sent)


async def write(files: Files, path: Path | str, *pieces: bytes, append: bool = False) -> FileInfo:
    return await files.write(WriteFile(str(path), append), stream(*pieces))


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def link(path: Path, target: Path | str) -> None:
    path.symlink_to(target)


def odd_name(folder: Path) -> None:
    """Make an empty file, an age old, whose name is no UTF-8."""
    path = folder / os.fsdecode(b"caf\xe9")
    path.touch()
    os.utime(path, (1, 1234.5))


async def names_below(files: Files, folder: Path, *, limit: int = 1000, prefix: str = "") -> list[str]:
    """All names, gathered page by page."""
    names: list[str] = []
    after: str | None = ""
    while after is not None:
        page: FileList = await files.list(ListFiles(str(folder), prefix, after, limit))
        assert len(page.files) <= limit
        names += [file.path for file in page.files]
        after = page.next_after
    return names


async def test_a_file_is_read_in_chunks_from_any_place(files: Files, tmp_path: Path) -> None:
    data = os.urandom(3 * CHUNK_BYTES + 5)
    await write(files, tmp_path / "a", data)
    assert (await read(files, tmp_path / "a"))[1] == data
    assert (await read(files, tmp_path / "a", 10, CHUNK_BYTES + 1))[1] == data[10 : CHUNK_BYTES + 11]
    assert (await read(files, tmp_path / "a", len(data) - 2, 100))[1] == data[-2:]
    assert (await read(files, tmp_path / "a", len(data) + 2))[1] == b""


async def test_an_empty_file_is_one_last_chunk(files: Files, tmp_path: Path) -> None:
    await write(files, tmp_path / "empty")
    info, data = await read(files, tmp_path / "empty")
    assert (info.path, info.size, data) == (str(tmp_path / "empty"), 0, b"")


async def test_writing_makes_folders_and_replaces_whole_files(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    await write(files, path, b"old and long")
    info = await write(files, path, b"new", b"!")
    assert info.size == 4
    assert (await read(files, path))[1] == b"new!"
    assert await names_below(files, tmp_path) == ["deep/er/a.txt"]


async def test_replacing_keeps_the_mode_of_a_file(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "tool.sh")
    shutil.copymode("/bin/sh", tmp_path / "tool.sh")
    await write(files, tmp_path / "tool.sh", b"echo")
    assert os.access(tmp_path / "tool.sh", os.X_OK)


async def test_appending_goes_on_at_the_end(files: Files, tmp_path: Path) -> None:
    await write(files, tmp_path / "log", b"1", append=True)
    info = await write(files, tmp_path / "log", b"2", append=True)
    assert info.size == 2
    assert (await read(files, tmp_path / "log"))[1] == b"12"


class Slow:
    """Holds both threads of `files` from the next free moment on, as a slow disk does."""

    def __init__(self, files: Files) -> None:
        self._threads = files._threads
        self._held = threading.Semaphore(0)
        self.over = threading.Event()
        for _ in range(2):
            self._threads.submit(self._hold)

    def _hold(self) -> None:
        self._held.release()
        self.over.wait()

    async def reached(self) -> None:
        """Wait until both threads are held, and the next work waits for them."""
        for _ in range(2):
            await until(lambda: self._held.acquire(blocking=False))
        await until(lambda: self._threads._work_queue.qsize() == 1)


@pytest.mark.parametrize("act", ["read", "write"])
async def test_what_is_opened_for_a_call_that_ended_meanwhile_is_closed_and_leaves_nothing(
    files: Files, tmp_path: Path, act: str
) -> None:
    tree(tmp_path, "kept")
    open_before = listed(Path("/proc/self/fd"))
    if act == "read":
        slow = Slow(files)
        body = ReadFile(str(tmp_path / "kept"))
        task = asyncio.ensure_future(files.read(body, Reading(body)))
    else:
        task = asyncio.ensure_future(write(files, tmp_path / "kept", b"x"))
        await asyncio.sleep(0)  # its place is looked at, and then there is no thread to begin with
        slow = Slow(files)
    await slow.reached()
    task.cancel()
    await asyncio.sleep(0)
    slow.over.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert listed(tmp_path) == ["kept"]
    assert listed(Path("/proc/self/fd")) == open_before


async def test_an_upload_that_is_cancelled_leaves_nothing(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "kept")
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"half"
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(files.write(WriteFile(str(tmp_path / "kept")), endless()))
    await asyncio.wait_for(arrived.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names_below(files, tmp_path) == ["kept"]
    assert (await read(files, tmp_path / "kept"))[1] == b"kept"


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("missing", "not_found"),
        ("folder", "not_a_file"),
        ("file/below", "not_a_file"),
        ("fifo", "not_a_file"),
        ("loop", "invalid"),
        ("proc", "permission"),
        ("x" * 300, "invalid"),
    ],
)
async def test_what_cannot_be_read_is_a_fault_that_names_it(
    files: Files, tmp_path: Path, path: str, fault: str
) -> None:
    tree(tmp_path, "folder/a", "file")
    os.mkfifo(tmp_path / "fifo")
    link(tmp_path / "loop", "loop")
    link(tmp_path / "proc", "/proc/self/environ")
    with pytest.raises(CallFault) as caught:
        await asyncio.wait_for(read(files, tmp_path / path), 10)
    assert caught.value.fault == fault
    assert path in caught.value.message


@pytest.mark.parametrize(
    ("path", "fault"), [("folder", "not_a_file"), ("file/below", "not_a_file"), ("fifo", "not_a_file")]
)
@pytest.mark.parametrize("append", [False, True])
async def test_what_cannot_be_written_is_a_fault(
    files: Files, tmp_path: Path, path: str, fault: str, append: bool
) -> None:
    tree(tmp_path, "folder/a", "file")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CallFault) as caught:
        await asyncio.wait_for(write(files, tmp_path / path, b"x", append=append), 10)
    assert caught.value.fault == fault


@pytest.mark.parametrize("path", ["relative", "", "/nul\0byte", "../up"])
async def test_a_path_that_is_not_absolute_is_invalid(files: Files, path: str) -> None:
    for call in (
        read(files, path),
        write(files, path, b"x"),
        files.list(ListFiles(path)),
        files.delete(DeleteFile(path)),
    ):
        with pytest.raises(CallFault) as caught:
            await call
        assert caught.value.fault == "invalid"


async def test_no_room_for_more_is_no_space_and_leaves_the_old_file(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "kept")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(CallFault) as caught:
            await write(files, tmp_path / "kept", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.fault == "no_space"
    assert (await read(files, tmp_path / "kept"))[1] == b"kept"
    assert await names_below(files, tmp_path) == ["kept"]


async def test_a_listing_is_sorted_by_path_and_pages_agree(files: Files, tmp_path: Path) -> None:
    expected = ["a.txt", "a/1", "a/2", "a/b/c", "a0", "ab/x", "b", ".hidden/x", ".composio/output/exec_fish_stdout.txt"]
    tree(tmp_path, *expected)
    (tmp_path / "empty").mkdir()
    link(tmp_path / "a" / "up", tmp_path)
    link(tmp_path / "out", "/etc/passwd")
    expected.sort()
    for limit in (1, 2, 3, 1000):
        assert await names_below(files, tmp_path, limit=limit) == expected


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("a", ["a.txt", "a/1", "a/b/c"]), ("a/", ["a/1", "a/b/c"]), ("a/b", ["a/b/c"]), ("zz", []), ("a/b/c", ["a/b/c"])],
)
async def test_a_listing_keeps_to_its_prefix(files: Files, tmp_path: Path, prefix: str, expected: list[str]) -> None:
    tree(tmp_path, "a.txt", "a/1", "a/b/c", "b/1")
    assert await names_below(files, tmp_path, prefix=prefix) == expected


async def test_a_listing_says_size_and_time_and_shows_odd_names(files: Files, tmp_path: Path) -> None:
    odd_name(tmp_path)
    page = await files.list(ListFiles(str(tmp_path)))
    assert page == FileList((FileInfo("caf\ufffd", 0, 1234.5),))


async def test_a_long_listing_comes_in_pages_that_fit_a_message(files: Files, tmp_path: Path) -> None:
    expected = sorted(f"{'x' * 200}{number}" for number in range(1500))
    tree(tmp_path, *expected)
    page = await files.list(ListFiles(str(tmp_path), limit=10**9))
    assert page.next_after is not None
    assert await names_below(files, tmp_path, limit=10**9) == expected


async def test_listing_what_is_no_folder_is_a_fault(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "file")
    for name, fault in (("file", "not_a_file"), ("missing", "not_found")):
        with pytest.raises(CallFault) as caught:
            await files.list(ListFiles(str(tmp_path / name)))
        assert caught.value.fault == fault


async def test_files_links_and_folders_are_deleted_and_what_links_point_to_is_not(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "file", "folder/a/b", "kept/c")
    link(tmp_path / "link", tmp_path / "kept")
    for name in ("file", "folder", "link"):
        await files.delete(DeleteFile(str(tmp_path / name)))
    assert await names_below(files, tmp_path) == ["kept/c"]
    with pytest.raises(CallFault) as caught:
        await files.delete(DeleteFile(str(tmp_path / "file")))
    assert caught.value.fault == "not_found"


async def test_folders_that_are_too_deep_are_refused_in_words(files: Files, tmp_path: Path) -> None:
    deep, where = tmp_path / "deep", os.open(tmp_path, os.O_RDONLY)
    for name in ("deep", *(["d"] * (DEPTH_MAX + 10))):
        os.mkdir(name, dir_fd=where)
        inner = os.open(name, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = inner
    os.close(where)
    with pytest.raises(CallFault) as caught:
        await files.delete(DeleteFile(str(deep)))
    assert caught.value.fault == "too_deep"
    assert "rm -r" in caught.value.message
    assert await names_below(files, tmp_path) == []


async def test_a_source_is_read_once_and_deleted(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "kept")
    await write(files, tmp_path / "code.py", "print('é')".encode())
    assert await files.take_source(str(tmp_path / "code.py"), 100) == "print('é')"
    assert await names_below(files, tmp_path) == ["kept"]


@pytest.mark.parametrize("data", [b"x" * 101, b"\xff"])
async def test_a_source_that_is_too_long_or_no_text_is_invalid(files: Files, tmp_path: Path, data: bytes) -> None:
    await write(files, tmp_path / "code.py", data)
    with pytest.raises(CallFault) as caught:
        await files.take_source(str(tmp_path / "code.py"), 100)
    assert caught.value.fault == "invalid"
    assert await names_below(files, tmp_path) == []
