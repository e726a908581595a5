"""Bytes of files through a real server: ranges, any size in little memory, cut uploads, links that lead out."""

import hashlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import KEY, Server, running_server
from tests.api.test_mounts import IN_FILES, errors_of
from tests.compat.requirements import promises

MIB: Final = 1024 * 1024
BIG: Final = 300 * MIB
MEMORY: Final = 64 * MIB
"""What the server may take more while BIG bytes go through it."""

PIECE: Final = bytes(range(256)) * 4096
DATA: Final = b"0123456789"


@pytest.fixture
def session(client: httpx.Client) -> str:
    """The id of a new session."""
    return str(client.post("/v1/sessions", json={}).json()["session_id"])


@pytest.fixture
def files(session: str) -> str:
    """The address of a session's files."""
    return f"/v1/sessions/{session}/files"


def direct(kind: str, session: str, path: str) -> str:
    """The address of a file's bytes, by each of the direct routes."""
    if kind == "v1":
        return f"/v1/sessions/{session}/files/{path}"
    return f"/api/{kind}/tool_router/session/{session}/mounts/files/content?path={path}"


def peak_memory(server: Server) -> int:
    """The most bytes that the server has had in memory until now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def begin_upload(server: Server, target: str, size: int, sent: bytes) -> socket.socket:
    """Send the head of an upload of `size` bytes, and the first of them."""
    where = urlsplit(server.url)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode() + sent)
    return connection


def until(answer: Callable[[], bool]) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + 30
    while not answer():
        assert time.monotonic() < deadline, "it did not become so"


def drafts(server: Server, session: str) -> str:
    """The names in the folder of files that uploads under way have."""
    code = IN_FILES + "print([name for name in os.listdir() if name.startswith('.upload-')])"
    return str(server.run(code, session=session)["data"]["stdout"]).strip()


@promises("CC-0.14")
@pytest.mark.parametrize("kind", ["v1", "v3", "v3.1"])
def test_bytes_go_in_out_and_away_with_a_key(client: httpx.Client, session: str, kind: str) -> None:
    at = direct(kind, session, "a/b.json")
    put = client.put(at, content=DATA)
    assert (put.status_code, put.json()["size"]) == (200, 10)
    assert put.json()["mount_relative_path"] == "a/b.json"
    got = client.get(at)
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, DATA, "application/json")
    head = client.head(at)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
    assert head.headers["etag"] == got.headers["etag"]
    assert client.get(at, headers={"if-none-match": got.headers["etag"]}).status_code == 304
    assert client.delete(at).json()["mount_relative_path"] == "a/b.json"
    for method in ("GET", "DELETE"):
        errors_of(client.request(method, at), 404)
    assert client.head(at).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "content", "range_"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, DATA, "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-2", 200, DATA, None),
        ("bytes=0-1,4-5", 200, DATA, None),
        ("lines=1-2", 200, DATA, None),
        ("bytes=-", 200, DATA, None),
    ],
)
def test_a_range_gives_its_bytes(
    client: httpx.Client, files: str, *, asked: str, status: int, content: bytes, range_: str | None
) -> None:
    client.put(f"{files}/ten.txt", content=DATA)
    got = client.get(f"{files}/ten.txt", headers={"range": asked})
    assert (got.status_code, got.content, got.headers.get("content-range")) == (status, content, range_)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused(client: httpx.Client, files: str, asked: str) -> None:
    client.put(f"{files}/ten.txt", content=DATA)
    got = client.get(f"{files}/ten.txt", headers={"range": asked})
    errors_of(got, 416)
    assert got.headers["content-range"] == "bytes */10"


def test_a_range_of_a_file_that_was_replaced_gives_the_new_one_whole(client: httpx.Client, files: str) -> None:
    client.put(f"{files}/ten.txt", content=b"older")
    etag = client.get(f"{files}/ten.txt").headers["etag"]
    client.put(f"{files}/ten.txt", content=DATA)
    got = client.get(f"{files}/ten.txt", headers={"range": "bytes=2-4", "if-range": etag})
    assert (got.status_code, got.content) == (200, DATA)


def test_an_empty_file_is_a_file(client: httpx.Client, files: str) -> None:
    assert client.put(f"{files}/empty", content=b"").json()["size"] == 0
    got = client.get(f"{files}/empty")
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")
    assert client.get(files).json()["items"][0]["size"] == 0


def test_a_folder_is_deleted_with_all_that_is_in_it_and_is_no_file(client: httpx.Client, files: str) -> None:
    client.put(f"{files}/folder/a", content=b"a")
    for method in ("GET", "PUT"):
        error = errors_of(client.request(method, f"{files}/folder", content=b"x"), 422)
        assert error["fields"][0]["path"] == "path"
    errors_of(client.put(f"{files}/folder/a/b", content=b"x"), 422)
    assert client.delete(f"{files}/folder").status_code == 200
    assert client.get(files).json()["items"] == []


@promises("CC-0.14")
def test_a_large_file_passes_through_in_little_memory(server: Server, client: httpx.Client, files: str) -> None:
    client.put(f"{files}/first", content=PIECE)
    assert client.get(f"{files}/first").content == PIECE
    before = peak_memory(server)

    def pieces() -> Iterator[bytes]:
        for _ in range(BIG // len(PIECE)):
            yield PIECE

    assert client.put(f"{files}/big", content=pieces(), timeout=300).json()["size"] == BIG
    digest, expected = hashlib.sha256(), hashlib.sha256()
    with client.stream("GET", f"{files}/big", timeout=300) as got:
        assert got.headers["content-length"] == str(BIG)
        for piece in got.iter_bytes():
            digest.update(piece)
    for piece in pieces():
        expected.update(piece)
    assert digest.digest() == expected.digest()
    assert peak_memory(server) - before < MEMORY


def test_an_upload_that_is_cut_leaves_the_old_file_and_no_half_one(
    server: Server, client: httpx.Client, session: str, files: str
) -> None:
    client.put(f"{files}/a.bin", content=b"old")
    with begin_upload(server, f"{files}/a.bin", 10 * MIB, PIECE):
        until(lambda: drafts(server, session) != "[]")
        assert [item["mount_relative_path"] for item in client.get(files).json()["items"]] == ["a.bin"]
    until(lambda: drafts(server, session) == "[]")
    assert client.get(f"{files}/a.bin").content == b"old"


def test_of_two_uploads_of_one_path_the_one_that_ends_last_is_there_whole(
    server: Server, client: httpx.Client, session: str, files: str
) -> None:
    client.put(f"{files}/other", content=b"")
    with begin_upload(server, f"{files}/a.bin", 2 * MIB, PIECE) as slow:
        until(lambda: drafts(server, session) != "[]")
        assert client.put(f"{files}/a.bin", content=b"quick").status_code == 200
        assert client.get(f"{files}/a.bin").content == b"quick"
        slow.sendall(PIECE)
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
    assert client.get(f"{files}/a.bin").content == PIECE + PIECE


def test_links_in_the_sandbox_lead_nowhere_out_of_the_folder(
    server: Server, client: httpx.Client, session: str, files: str
) -> None:
    code = """
os.makedirs('../outside', exist_ok=True); open('../outside/secret', 'w').write('secret')
open('inside', 'w').write('inside'); os.symlink('inside', 'good'); os.symlink('../outside/secret', 'file')
os.symlink('../outside', 'folder'); os.symlink('/etc/passwd', 'passwd'); os.symlink('loop', 'loop')
os.symlink('/proc/self/environ', 'environ'); os.mkfifo('pipe')
"""
    assert server.run(IN_FILES + code, session=session)["successful"]
    assert client.get(f"{files}/good").text == "inside"
    for name in ("file", "folder/secret", "passwd", "loop", "environ", "pipe"):
        assert errors_of(client.get(f"{files}/{name}"), 422)["fields"][0]["path"] == "path"
    errors_of(client.put(f"{files}/folder/new", content=b"x"), 422)
    errors_of(client.delete(f"{files}/folder/secret"), 422)
    listed = [item["mount_relative_path"] for item in client.get(files).json()["items"]]
    assert listed == ["inside"]
    assert client.put(f"{files}/file", content=b"mine now").status_code == 200
    assert client.delete(f"{files}/folder").status_code == 200
    look = IN_FILES + "print(os.listdir('../outside'), open('../outside/secret').read(), open('file').read())"
    assert server.run(look, session=session)["data"]["stdout"] == "['secret'] secret mine now\n"


def test_a_time_that_cannot_be_is_shown_as_one_that_can(
    server: Server, client: httpx.Client, session: str, files: str
) -> None:
    code = """open('future', 'w').close(); os.utime('future', (9e9, 9e9))
open('past', 'w').close(); os.utime('past', (-9e9, -9e9))"""
    assert server.run(IN_FILES + code, session=session)["successful"]
    assert len(client.get(files).json()["items"]) == 2
    assert client.get(f"{files}/past").headers["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert client.get(f"{files}/future").status_code == 200


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits, and links that expire at once."""
    folder = tmp_path_factory.mktemp("narrow")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    settings = {"max_upload_bytes": "4096", "max_body_bytes": "1024", "object_link_s": "1", "request_timeout_s": "1"}
    settings |= {"port": str(port), "public_url": "https://files.example.org/base/"}
    with running_server(folder, api_keys=KEY, **settings) as running:
        yield replace(running, url=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_over_the_limit_is_refused_and_one_over_that_of_bodies_is_not(narrow: Server, chunked: bool) -> None:
    with narrow.client() as client:
        at = f"/v1/sessions/{client.post('/v1/sessions', json={}).json()['session_id']}/files/a"
        assert client.put(at, content=b"x" * 4096).status_code == 200
        content = iter([b"y" * 2049] * 2) if chunked else b"y" * 4097
        assert "max_upload_bytes" in errors_of(client.put(at, content=content), 413)["suggested_fix"]
        assert client.get(at).content == b"x" * 4096


def test_an_upload_that_stands_still_is_ended(narrow: Server) -> None:
    with narrow.client() as client:
        session = client.post("/v1/sessions", json={}).json()["session_id"]
        with begin_upload(narrow, f"/v1/sessions/{session}/files/a", 100, b"few") as slow:
            assert slow.recv(65536).startswith(b"HTTP/1.1 408")
        errors_of(client.get(f"/v1/sessions/{session}/files/a"), 404)


@promises("CC-1.08", "CC-1.42")
def test_a_link_has_the_public_address_and_expires(narrow: Server) -> None:
    with narrow.client() as client:
        session = client.post("/v1/sessions", json={}).json()["session_id"]
        mount = f"/api/v3/tool_router/session/{session}/mounts/files"
        url = client.post(f"{mount}/upload_url", json={"mount_relative_path": "a"}).json()["upload_url"]
        assert url.startswith("https://files.example.org/base/mounts/")
        link = url.removeprefix("https://files.example.org/base")
        until(lambda: client.put(link, content=b"x").status_code == 403)
        assert "expired" in errors_of(client.put(link, content=b"x"), 403)["message"]


@promises("CC-4.45")
@pytest.mark.parametrize("version", ["v3", "v3.1"])
def test_a_file_for_a_tool_is_put_by_link_if_it_has_its_md5(client: httpx.Client, version: str) -> None:
    body = {"filename": "résumé.pdf", "mimetype": "application/pdf", "tool_slug": "T_X", "toolkit_slug": "t"}
    body["md5"] = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    answer = client.post(f"/api/{version}/files/upload/request", json=body).json()
    assert answer.keys() == {"id", "key", "type", "new_presigned_url", "newPresignedUrl", "metadata"}
    assert (answer["type"], answer["metadata"]) == ("new", {"storage_backend": "s3"})
    url = answer["new_presigned_url"]
    assert url == answer["newPresignedUrl"]
    headers = {"content-type": "application/pdf"}
    wrong = httpx.put(url, content=b"other bytes", headers=headers, trust_env=False)
    assert "md5" in errors_of(wrong, 400)["message"]
    for _ in range(2):
        assert httpx.put(url, content=DATA, headers=headers, trust_env=False).status_code == 200
    errors_of(httpx.put(url.replace(body["md5"], "0" * 32), content=DATA, trust_env=False), 403)
    errors_of(httpx.get(url, trust_env=False), 403)


@pytest.mark.parametrize("field", ["md5", "filename", "mimetype", "tool_slug", "toolkit_slug"])
def test_a_request_for_an_upload_lacks_a_field_by_name(client: httpx.Client, field: str) -> None:
    body = {"md5": "0" * 32, "filename": "a", "mimetype": "b/c", "tool_slug": "T", "toolkit_slug": "t"}
    body[field] = "" if field != "md5" else "no md5"
    assert errors_of(client.post("/api/v3/files/upload/request", json=body), 422)["fields"][0]["path"] == field
    del body[field]
    assert errors_of(client.post("/api/v3/files/upload/request", json=body), 422)["fields"][0]["path"] == field
