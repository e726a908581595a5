"""Files of a session by the Composio contract's routes and by signed links, over real servers."""

import os
import subprocess
import sys
import time
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.api.conftest import KEY, OTHER_KEY, Server
from tests.compat.requirements import promises

UNICODE: Final = "отчёт/日本 🦜 #1?&%.txt"
IN_FILES: Final = "import os; os.chdir(os.path.realpath(os.path.expanduser('~/.code_out')) + '/../..')\n"
"""Begins code that works in the folder of the files, wherever the runtime has it."""

both = pytest.mark.parametrize("prefix", ["/api/v3", "/api/v3.1"])

BAD_PATHS: Final = {
    "": "empty",
    "/etc/passwd": "slash at the beginning",
    "/mnt/files/a": "slash at the beginning",
    "../secret": "`..`",
    "a/../../b": "`..`",
    "a/./b": "`..`",
    "a//b": "empty",
    "a/": "empty",
    "nul\0": "NUL",
    "x" * 256: "255 bytes",
    "d/" * 600 + "x": "1024 bytes",
}


@pytest.fixture
def session(client: httpx.Client) -> str:
    """The id of a new session."""
    return str(client.post("/v1/sessions", json={}).json()["session_id"])


@pytest.fixture
def prefix() -> str:
    """The version of the contract that a test uses when it does not matter."""
    return "/api/v3.1"


@pytest.fixture
def mount(prefix: str, session: str) -> str:
    """The address of a session's mount."""
    return f"{prefix}/tool_router/session/{session}/mounts/files"


def uploaded(client: httpx.Client, mount: str, path: str, data: bytes) -> dict[str, Any]:
    """Upload by link, as the SDKs do; what the link's request was answered."""
    made = client.post(f"{mount}/upload_url", json={"mount_relative_path": path, "mimetype": "text/plain"})
    assert made.status_code == 200, made.text
    put = httpx.put(made.json()["upload_url"], content=data, headers={"content-type": "text/plain"}, trust_env=False)
    assert put.status_code == 200, put.text
    answer: dict[str, Any] = made.json()
    return answer


def downloaded(client: httpx.Client, mount: str, path: str) -> httpx.Response:
    """Download by link, without a key."""
    made = client.post(f"{mount}/download_url", json={"mount_relative_path": path})
    assert made.status_code == 200, made.text
    return httpx.get(made.json()["download_url"], trust_env=False)


def errors_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The inside of the envelope of an error."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["status"] == status
    assert error["request_id"] == response.headers["x-request-id"]
    return error


@promises("CC-4.40", "CC-4.41", "CC-4.42")
@both
def test_a_file_goes_in_and_out_by_links_without_a_key(client: httpx.Client, mount: str) -> None:
    made = uploaded(client, mount, "in/report.txt", b"hello")
    assert made["mount_relative_path"] == "in/report.txt"
    assert made["sandbox_mount_prefix"] == "/mnt/files"
    assert made["expires_at"].endswith("Z")
    answer = client.post(f"{mount}/download_url", json={"mount_relative_path": "in/report.txt"}).json()
    assert answer.keys() == {"download_url", "mount_relative_path", "sandbox_mount_prefix", "expires_at"}
    got = httpx.get(answer["download_url"], trust_env=False)
    assert (got.status_code, got.content) == (200, b"hello")
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["content-disposition"].startswith("attachment; filename*=UTF-8''report.txt")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert got.headers["last-modified"].endswith("GMT")


@promises("CC-1.07", "CC-4.41")
@both
def test_code_and_clients_see_each_others_files_at_once(
    server: Server, client: httpx.Client, mount: str, session: str
) -> None:
    uploaded(client, mount, "from/client.txt", b"by the client")
    code = "open('by_code.txt', 'w').write('by code'); print(open('from/client.txt').read())"
    ran = server.run(IN_FILES + code, session=session)
    assert ran["data"]["stdout"] == "by the client\n", ran
    page = client.get(f"{mount}/items").json()
    items = {item["mount_relative_path"]: item for item in page["items"]}
    assert items["by_code.txt"]["size"] == len("by code")
    assert items["from/client.txt"].keys() == {"mount_relative_path", "sandbox_mount_prefix", "size", "last_modified"}
    assert items["from/client.txt"]["last_modified"].endswith("Z")
    assert "next_cursor" not in page
    assert downloaded(client, mount, "by_code.txt").text == "by code"


@promises("CC-0.12", "CC-4.43")
@both
def test_a_list_comes_in_pages_and_by_prefix(client: httpx.Client, mount: str) -> None:
    names = ["a.txt", "data/1.csv", "data/2.csv", "data.txt", UNICODE]
    for name in names:
        uploaded(client, mount, name, name.encode())
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(f"{mount}/items", params={"limit": 2, **cursor}).json()
        assert len(page["items"]) <= 2
        seen += [item["mount_relative_path"] for item in page["items"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert set(names) <= set(seen)
    assert seen == sorted(set(seen))
    found = client.get(f"{mount}/items", params={"mount_relative_prefix": "data/"}).json()["items"]
    assert [item["mount_relative_path"] for item in found] == ["data/1.csv", "data/2.csv"]


@promises("CC-4.44")
@both
def test_a_unicode_name_goes_in_out_and_away(client: httpx.Client, mount: str) -> None:
    uploaded(client, mount, UNICODE, b"unicode")
    assert downloaded(client, mount, UNICODE).content == b"unicode"
    gone = client.post(f"{mount}/delete", json={"mount_relative_path": UNICODE})
    assert gone.json() == {"mount_relative_path": UNICODE, "sandbox_mount_prefix": "/mnt/files"}
    errors_of(client.post(f"{mount}/download_url", json={"mount_relative_path": UNICODE}), 404)
    errors_of(client.post(f"{mount}/delete", json={"mount_relative_path": UNICODE}), 404)


@pytest.mark.parametrize("call", ["upload_url", "download_url", "delete"])
@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path[:12]))
def test_a_path_that_cannot_be_is_refused_by_name(client: httpx.Client, mount: str, call: str, path: str) -> None:
    error = errors_of(client.post(f"{mount}/{call}", json={"mount_relative_path": path}), 422)
    assert error["fields"][0]["path"] == "mount_relative_path"
    assert BAD_PATHS[path] in error["message"]
    direct = client.put(f"{mount}/content", params={"path": path}, content=b"x")
    assert errors_of(direct, 422)["fields"][0]["path"] == "path"


@pytest.mark.parametrize("body", [{}, {"mount_relative_path": 5}, {"mount_relative_path": None}])
def test_a_body_without_a_path_is_refused_by_name(client: httpx.Client, mount: str, body: dict[str, Any]) -> None:
    assert errors_of(client.post(f"{mount}/upload_url", json=body), 422)["fields"][0]["path"] == "mount_relative_path"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"cursor": "no cursor!"}, "cursor"),
        ({"mount_relative_prefix": "../"}, "mount_relative_prefix"),
        ({"mount_relative_prefix": "/mnt"}, "mount_relative_prefix"),
    ],
)
def test_a_list_that_cannot_be_is_refused_by_name(
    client: httpx.Client, mount: str, query: dict[str, Any], field: str
) -> None:
    assert errors_of(client.get(f"{mount}/items", params=query), 422)["fields"][0]["path"].endswith(field)


def test_another_mount_is_not_found_by_name(client: httpx.Client, mount: str) -> None:
    other = mount.removesuffix("files") + "disk"
    answers = [client.get(f"{other}/items"), client.get(f"{other}/content", params={"path": "x"})]
    answers += [
        client.post(f"{other}/{call}", json={"mount_relative_path": "x"})
        for call in ("upload_url", "download_url", "delete")
    ]
    assert all("'disk'" in errors_of(answer, 404)["message"] for answer in answers)


@both
def test_a_session_of_another_key_has_no_files_for_this_one(server: Server, client: httpx.Client, mount: str) -> None:
    uploaded(client, mount, "mine.txt", b"mine")
    with server.client(OTHER_KEY) as other:
        for call in ("upload_url", "download_url", "delete"):
            errors_of(other.post(f"{mount}/{call}", json={"mount_relative_path": "mine.txt"}), 404)
        errors_of(other.get(f"{mount}/items"), 404)
        errors_of(other.get(f"{mount}/content", params={"path": "mine.txt"}), 404)
        errors_of(other.put(f"{mount}/content", params={"path": "mine.txt"}, content=b"x"), 404)
    with server.client(None) as nobody:
        errors_of(nobody.get(f"{mount}/items"), 401)
        errors_of(nobody.put(f"{mount}/content", params={"path": "mine.txt"}, content=b"x"), 401)
    assert downloaded(client, mount, "mine.txt").content == b"mine"


def test_links_of_a_deleted_session_lead_nowhere(client: httpx.Client, mount: str) -> None:
    uploaded(client, mount, "a.txt", b"a")
    download = client.post(f"{mount}/download_url", json={"mount_relative_path": "a.txt"}).json()["download_url"]
    upload = client.post(f"{mount}/upload_url", json={"mount_relative_path": "a.txt"}).json()["upload_url"]
    assert client.delete(f"/v1/sessions/{mount.split('/')[-3]}").status_code == 200
    errors_of(httpx.get(download, trust_env=False), 404)
    errors_of(httpx.put(upload, content=b"x", trust_env=False), 404)
    errors_of(client.get(f"{mount}/items"), 404)
    errors_of(client.post(f"{mount}/upload_url", json={"mount_relative_path": "a.txt"}), 404)


@pytest.mark.parametrize("trick", ["signature", "expires", "path", "session", "action", "without"])
def test_a_link_that_was_changed_is_refused(client: httpx.Client, mount: str, trick: str) -> None:
    uploaded(client, mount, "a.txt", b"a")
    url = client.post(f"{mount}/download_url", json={"mount_relative_path": "a.txt"}).json()["download_url"]
    query = parse_qs(urlsplit(url).query)
    changed = {
        "signature": url.replace(query["signature"][0], "0" * 64),
        "expires": url.replace(query["expires"][0], str(int(query["expires"][0]) + 1)),
        "path": url.replace("a.txt", "b.txt"),
        "session": url.replace(mount.split("/")[-3], "trs_1234567890123456789"),
        "action": url,
        "without": url.split("?")[0],
    }[trick]
    method = "PUT" if trick == "action" else "GET"
    errors_of(httpx.request(method, changed, content=b"", trust_env=False), 403)


def test_a_link_in_a_disabled_sandbox_and_every_call_are_refused(client: httpx.Client) -> None:
    made = client.post("/v1/sessions", json={"config": {"workbench": {"enable": False}}}).json()
    mount = f"/api/v3.1/tool_router/session/{made['session_id']}/mounts/files"
    answers = [client.get(f"{mount}/items"), client.get(f"/v1/sessions/{made['session_id']}/files")]
    answers += [
        client.post(f"{mount}/{call}", json={"mount_relative_path": "x"})
        for call in ("upload_url", "download_url", "delete")
    ]
    assert all("workbench.enable" in errors_of(answer, 400)["message"] for answer in answers)


def test_the_command_line_lists_files_without_what_would_write_to_the_terminal(
    server: Server, client: httpx.Client, session: str
) -> None:
    for name in ("data/1.csv", "data/\x1b[31m.csv", "other.txt"):
        uploaded(client, f"/api/v3/tool_router/session/{session}/mounts/files", name, b"12345")
    said = subprocess.run(
        [sys.executable, "-m", "sandbox.cli", "sessions", "files", session, "data/", "--url", server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "WORKBENCH_API_KEY": KEY},
    ).stdout.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in said] == [("5", "data/?[31m.csv"), ("5", "data/1.csv")]


def test_links_of_a_new_session_start_its_sandbox(client: httpx.Client) -> None:
    session_id = client.post("/v1/sessions", json={}).json()["session_id"]
    mount = f"/api/v3.1/tool_router/session/{session_id}/mounts/files"
    uploaded(client, mount, "first.txt", b"first")
    assert downloaded(client, mount, "first.txt").content == b"first"


@promises("CC-1.08", "CC-1.42")
def test_a_link_lasts_as_long_as_the_setting_says(client: httpx.Client, mount: str) -> None:
    made = client.post(f"{mount}/upload_url", json={"mount_relative_path": "a.txt"}).json()
    expires = int(parse_qs(urlsplit(made["upload_url"]).query)["expires"][0])
    assert 3_500 < expires - time.time() < 3_700
    assert made["upload_url"].startswith(str(client.base_url).rstrip("/"))


def test_the_documentation_has_every_route_with_its_shape(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for version in ("v3", "v3.1"):
        at = f"/api/{version}/tool_router/session/{{session_id}}/mounts/{{mount}}"
        for name in ("upload_url", "download_url", "delete"):
            content = paths[f"{at}/{name}"]["post"]["requestBody"]["content"]["application/json"]
            assert content["examples"]
        assert "$ref" in str(paths[f"{at}/items"]["get"]["responses"]["200"])
        assert "206" in paths[f"{at}/content"]["get"]["responses"]
        assert f"/api/{version}/files/upload/request" in paths
    assert "security" not in paths["/mounts/{session_id}/{mount}/{path}"]["get"]
