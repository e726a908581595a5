"""Object stores: the local folder, and S3 against moto's server from the package registry."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from sandbox.errors import NotFound, UpstreamRefused, UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.base import Objects
from sandbox.upstreams.links import LinkSigner
from sandbox.upstreams.object_keys import new_key
from sandbox.upstreams.objects_local import LocalObjects
from sandbox.upstreams.objects_s3 import S3Objects
from tests.compat.requirements import promises

pytestmark = pytest.mark.anyio


async def _pieces(data: bytes, size: int = 256 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _s3(endpoint: str, *, bucket: str = "files") -> S3Objects:
    return S3Objects(
        bucket,
        prefix="workbench/",
        endpoint_url=endpoint,
        region="us-east-1",
        access_key_id=SecretStr("an-access-key"),
        secret_access_key=SecretStr("a-secret-that-nobody-may-see"),
        link_s=60,
    )


@pytest.fixture
async def s3(s3_server: str) -> AsyncIterator[S3Objects]:
    objects = _s3(s3_server)
    await objects._thread(lambda client: client.create_bucket(Bucket="files"))
    yield objects
    await objects.aclose()


async def _found(objects: Objects, key: str) -> tuple[int, str] | None:
    """How many bytes of which type are stored under a key."""
    if isinstance(objects, LocalObjects):
        try:
            found = await objects.open(key, length=0)
        except NotFound:
            return None
        return found.size, found.content_type
    assert isinstance(objects, S3Objects)
    client, whole = objects._client(), f"workbench/{key}"
    listed = await asyncio.to_thread(client.list_objects_v2, Bucket="files", Prefix=whole)
    if not listed["KeyCount"]:
        return None
    head = await asyncio.to_thread(client.head_object, Bucket="files", Key=whole)
    return head["ContentLength"], head["ContentType"]


def _local(folder: Path, *, max_bytes: int = 100 * MIB) -> LocalObjects:
    signer = LinkSigner(b"key")
    return LocalObjects(
        folder, signer, base_url=lambda: "http://localhost", link_s=60, keep_s=3600, max_bytes=max_bytes
    )


def _stored_bytes(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(name))


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalObjects]:
    objects = _local(tmp_path / "objects")
    await objects.start()
    yield objects
    await objects.aclose()


@pytest.fixture(params=["local", "s3"])
def objects(request: pytest.FixtureRequest) -> Objects:
    found: Objects = request.getfixturevalue(request.param)
    return found


async def test_an_object_is_stored_with_its_type(objects: Objects) -> None:
    key = new_key("trs_a", "report.txt")
    done: list[int] = []
    stored = await objects.put(
        key, _pieces(b"x" * MIB), content_type="text/plain", on_progress=lambda n, _total: done.append(n)
    )
    assert (stored.key, stored.size, stored.content_type) == (key, MIB, "text/plain")
    assert done == sorted(done)
    assert done[-1] == MIB
    assert await _found(objects, key) == (MIB, "text/plain")


async def test_a_check_says_that_it_works(objects: Objects) -> None:
    assert await objects.check()


async def test_an_upload_that_breaks_off_leaves_nothing(objects: Objects) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (20 * MIB)
        raise UpstreamUnavailable("the source went away")

    key = new_key("trs_a", "half.bin")
    with pytest.raises(UpstreamUnavailable, match="source went away"):
        await objects.put(key, broken(), content_type="application/octet-stream")
    assert await _found(objects, key) is None


async def test_an_upload_that_is_cancelled_leaves_nothing(objects: Objects) -> None:
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * (9 * MIB)
        waiting.set()
        await asyncio.Event().wait()

    key = new_key("trs_a", "stuck.bin")
    upload = asyncio.create_task(objects.put(key, stuck(), content_type="application/octet-stream"))
    await waiting.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await _found(objects, key) is None


async def test_a_link_of_s3_gives_the_bytes_of_a_large_object(s3: S3Objects) -> None:
    data = secrets.token_bytes(20 * MIB + 7)
    stored = await s3.put(new_key("trs_a", "large.bin"), _pieces(data), content_type="application/octet-stream")
    async with httpx.AsyncClient() as client:
        answer = await client.get(stored.url)
    assert answer.content == data
    assert "a-secret-that-nobody-may-see" not in stored.url


async def test_a_missing_bucket_names_the_setting(s3_server: str) -> None:
    objects = _s3(s3_server, bucket="nowhere")
    for asked in (objects.check(), objects.put(new_key("trs_a", "f"), _pieces(b"x"), content_type="text/plain")):
        with pytest.raises(UpstreamRefused) as caught:
            await asked
        assert "nowhere" in caught.value.message
        assert "s3_bucket" in (caught.value.suggested_fix or "")
    await objects.aclose()


async def test_an_s3_that_is_away_is_unavailable_and_names_no_secret() -> None:
    objects = _s3("http://127.0.0.1:1")
    with pytest.raises(UpstreamUnavailable) as caught:
        await objects.put(new_key("trs_a", "f"), _pieces(b"x"), content_type="text/plain")
    assert "a-secret-that-nobody-may-see" not in str(caught.value)
    await objects.aclose()


async def test_a_full_local_store_refuses_and_stays_as_it_was(tmp_path: Path) -> None:
    objects = _local(tmp_path, max_bytes=2 * MIB)
    await objects.put(new_key("trs_a", "one"), _pieces(b"x" * MIB), content_type="text/plain")
    with pytest.raises(UpstreamRefused, match="full") as caught:
        await objects.put(new_key("trs_a", "two"), _pieces(b"x" * (3 * MIB)), content_type="text/plain")
    assert "object_store_max_bytes" in (caught.value.suggested_fix or "")
    await objects.put(new_key("trs_a", "three"), _pieces(b"x" * 1000), content_type="text/plain")
    await objects.aclose()


async def test_uploads_at_the_same_time_do_not_fill_the_local_store_beyond_its_bound(tmp_path: Path) -> None:
    objects = _local(tmp_path, max_bytes=4 * MIB)
    uploads = (
        objects.put(new_key("trs_a", "f"), _pieces(b"x" * (3 * MIB)), content_type="text/plain") for _ in range(8)
    )
    ended = await asyncio.gather(*uploads, return_exceptions=True)
    assert [type(each) for each in ended if isinstance(each, BaseException)] == [UpstreamRefused] * 7
    await objects.put(new_key("trs_a", "g"), _pieces(b"x" * (MIB // 2)), content_type="text/plain")
    assert _stored_bytes(tmp_path, "f") == 3 * MIB
    await objects.aclose()


@promises("CC-1.43")
async def test_old_objects_are_removed(tmp_path: Path) -> None:
    now = [0.0]
    signer = LinkSigner(b"key")
    objects = LocalObjects(tmp_path, signer, base_url=str, link_s=60, keep_s=3600, max_bytes=MIB, clock=lambda: now[0])
    key = new_key("trs_a", "old")
    await objects.put(key, _pieces(b"x"), content_type="text/plain")
    now[0] = (tmp_path / key).stat().st_mtime + 3601
    await objects.start()
    assert await _found(objects, key) is None
    await objects.aclose()


async def test_an_object_is_uploaded_by_a_link_to_s3_with_the_type_that_the_upload_names(s3: S3Objects) -> None:
    key = new_key("uploads", "report.pdf")
    place = await s3.upload_link(key, md5="0" * 32)
    assert place.location == f"workbench/{key}"
    async with httpx.AsyncClient(trust_env=False) as client:
        put = await client.put(place.url, content=b"bytes", headers={"content-type": "application/pdf"})
    assert put.status_code == 200
    assert await _found(s3, key) == (5, "application/pdf")


async def test_links_of_s3_are_made_while_as_many_uploads_as_run_at_once_are_slow(s3: S3Objects) -> None:
    begun = asyncio.Semaphore(0)

    async def stuck() -> AsyncIterator[bytes]:
        begun.release()
        await asyncio.Event().wait()
        yield b""

    uploads = [asyncio.create_task(s3.put(new_key("t", "f"), stuck(), content_type="text/plain")) for _ in range(8)]
    for _ in uploads:
        await begun.acquire()
    try:
        async with asyncio.timeout(20):
            assert (await s3.upload_link(new_key("uploads", "f"), md5="0" * 32)).url
    finally:
        for upload in uploads:
            upload.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)


async def test_a_range_of_a_local_object_is_read(local: LocalObjects) -> None:
    key = new_key("trs_a", "f")
    await local.put(key, _pieces(b"0123456789"), content_type="text/plain")
    found = await local.open(key, start=2, length=3)
    assert b"".join([piece async for piece in found.data]) == b"234"
    assert found.size == 10
