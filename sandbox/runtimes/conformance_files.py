"""Checks of files: what goes in comes out, byte for byte."""

import hashlib
import random
from collections.abc import AsyncIterator, Awaitable

from sandbox.errors import CallFault
from sandbox.limits import MIB
from sandbox.pipe.messages import DeleteFile, FileList, ListFiles, ReadFile, WriteFile
from sandbox.pipe.peer import expect
from sandbox.runtimes.conformance_bench import (
    STEP_TIMEOUT_S,
    Bench,
    Check,
    ConformanceFailure,
    Subject,
    expect_equal,
    expect_true,
)

_SIZE = 5 * MIB + 12_345
_PIECE = 700_001


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


async def _round_trip(bench: Bench) -> None:
    subject = await bench.shared()
    data = random.Random(7).randbytes(_SIZE)  # noqa: S311 - test data, the same every time
    folder = f"{(await subject.status()).home}/round/trip"
    path = f"{folder}/a file.bin"
    info = await subject.peer.write_file(WriteFile(path), _pieces(data), timeout_s=STEP_TIMEOUT_S)
    expect_equal("written size", len(data), info.size)
    digest = await subject.bash("sha256sum < 'round/trip/a file.bin'")
    expect_equal("digest in the sandbox", hashlib.sha256(data).hexdigest(), digest.stdout.text.split()[0])
    read = await subject.read(path)
    expect_true("the same bytes come back", read == data, shown=f"{len(read)} bytes")
    part = [
        piece async for piece in subject.peer.read_file(ReadFile(path, offset=MIB, length=99), timeout_s=STEP_TIMEOUT_S)
    ]
    expect_equal("a range", data[MIB : MIB + 99], b"".join(part))
    await subject.peer.write_file(WriteFile(path, append=True), _pieces(b"more"), timeout_s=STEP_TIMEOUT_S)
    expect_equal("end after appending", b"more", (await subject.read(path))[-4:])


async def _empty_file(bench: Bench) -> None:
    subject = await bench.shared()
    path = f"{(await subject.status()).files}/empty"
    await subject.peer.write_file(WriteFile(path), _pieces(b""), timeout_s=STEP_TIMEOUT_S)
    expect_equal("bytes", b"", await subject.read(path))


async def _list_and_delete(bench: Bench) -> None:
    subject = await bench.shared()
    folder = f"{(await subject.status()).home}/listed"
    await subject.bash("mkdir -p listed/below && cd listed && echo 1 > b && echo 22 > below/c && echo 333 > a")
    expect_equal("all", [("a", 4), ("b", 2), ("below/c", 3)], await _names(subject, ListFiles(folder)))
    expect_equal("a page", [("a", 4)], await _names(subject, ListFiles(folder, limit=1)))
    expect_equal("the next page", [("b", 2)], await _names(subject, ListFiles(folder, limit=1, after="a")))
    expect_equal("by prefix", [("below/c", 3)], await _names(subject, ListFiles(folder, prefix="below/")))
    await subject.peer.call(DeleteFile(f"{folder}/a"), timeout_s=STEP_TIMEOUT_S)
    await subject.peer.call(DeleteFile(f"{folder}/below"), timeout_s=STEP_TIMEOUT_S)
    expect_equal("after deleting", [("b", 2)], await _names(subject, ListFiles(folder)))


async def _names(subject: Subject, body: ListFiles) -> list[tuple[str, int]]:
    listed = expect(await subject.peer.call(body, timeout_s=STEP_TIMEOUT_S), FileList)
    return [(file.path, file.size) for file in listed.files]


async def _missing(bench: Bench) -> None:
    subject = await bench.shared()
    missing = f"{(await subject.status()).home}/does/not/exist"
    await _expect_not_found("reading", subject.read(missing))
    await _expect_not_found("deleting", subject.peer.call(DeleteFile(missing), timeout_s=STEP_TIMEOUT_S))


async def _expect_not_found(what: str, attempt: Awaitable[object]) -> None:
    try:
        await attempt
    except CallFault as fault:
        expect_equal(f"fault of {what} what does not exist", "not_found", fault.fault)
    else:
        raise ConformanceFailure(f"{what} what does not exist: expected fault not_found, got an answer")


CHECKS = (
    Check("a file of several megabytes is written and read back byte for byte", _round_trip),
    Check("an empty file is a file", _empty_file),
    Check("files are listed in pages by relative path, and deleted", _list_and_delete),
    Check("reading or deleting what does not exist says so", _missing),
)
