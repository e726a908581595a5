"""Files of sessions whose sandbox rests, and of sandboxes that isolate, over Docker."""

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.runtimes.docker_address import EngineAddress
from tests.api.conftest import KEY, Server, running_server
from tests.api.test_idle import at_rest
from tests.api.test_mounts import downloaded, errors_of, uploaded

MOUNT = "/api/v3.1/tool_router/session/{}/mounts/files"
MIB = 1024 * 1024


@pytest.fixture(params=["paused", "stopped"])
def restless(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[Server]:
    """A server whose sandboxes rest almost at once."""
    after = {"pause_after_s": "0.1"} if request.param == "paused" else {"pause_after_s": "0", "stop_after_s": "0.1"}
    with running_server(data_dir, api_keys=KEY, pool_size="0", **after) as running:
        yield running


def test_a_sandbox_that_rests_is_woken_for_its_files(restless: Server) -> None:
    with restless.client() as client:
        session = client.post("/v1/sessions", json={}).json()["session_id"]
        mount = MOUNT.format(session)
        uploaded(client, mount, "kept.txt", b"kept")
        at_rest(restless, session, KEY)
        assert [each["mount_relative_path"] for each in client.get(f"{mount}/items").json()["items"]] == ["kept.txt"]
        made = client.post(f"{mount}/download_url", json={"mount_relative_path": "kept.txt"}).json()
        at_rest(restless, session, KEY)
        assert httpx.get(made["download_url"], trust_env=False).content == b"kept"
        at_rest(restless, session, KEY)
        uploaded(client, mount, "new.txt", b"new")
        assert client.get(f"{mount}/content", params={"path": "new.txt"}).content == b"new"


@pytest.fixture(scope="module")
def isolated(
    tmp_path_factory: pytest.TempPathFactory, docker_engine: EngineAddress, sandbox_image: str
) -> Iterator[Server]:
    """A server over Docker; its sandboxes go with it."""
    del docker_engine
    settings = {
        "runtime": "docker",
        "unsafe": "false",
        "image": sandbox_image,
        "installation": f"test{secrets.token_hex(4)}",
        "on_shutdown": "remove",
        "pool_size": "0",
    }
    with running_server(tmp_path_factory.mktemp("isolated"), api_keys=KEY, **settings) as running:
        yield running


@pytest.mark.docker
def test_files_of_a_container_go_in_and_out_and_code_sees_them(isolated: Server) -> None:
    data = secrets.token_bytes(20 * MIB)
    with isolated.client() as client:
        session = client.post("/v1/sessions", json={}).json()["session_id"]
        mount = MOUNT.format(session)
        uploaded(client, mount, "in/отчёт.bin", data)
        ran = isolated.bash("sha256sum '/mnt/files/in/отчёт.bin' && echo by code > /mnt/files/out.txt", session=session)
        assert ran["data"]["stdout"].split()[0] == hashlib.sha256(data).hexdigest()
        assert downloaded(client, mount, "in/отчёт.bin").content == data
        assert downloaded(client, mount, "out.txt").text == "by code\n"
        listed = client.get(f"{mount}/items").json()["items"]
        assert [each["mount_relative_path"] for each in listed] == ["in/отчёт.bin", "out.txt"]
        assert isolated.bash("stat -c %U /mnt/files/in/*.bin", session=session)["data"]["stdout"] == "user\n"


@pytest.mark.docker
def test_links_out_of_a_containers_folder_are_refused(isolated: Server) -> None:
    with isolated.client() as client:
        session = client.post("/v1/sessions", json={}).json()["session_id"]
        links = "cd /mnt/files && ln -s /etc/passwd passwd && ln -s / root && ln -s /proc/1/environ environ"
        assert isolated.bash(links, session=session)["data"]["exit_code"] == 0
        files = f"/v1/sessions/{session}/files"
        for path in ("passwd", "root/etc/passwd", "environ"):
            assert errors_of(client.get(f"{files}/{path}"), 422)["fields"][0]["path"] == "path"
        errors_of(client.put(f"{files}/root/tmp/x", content=b"x"), 422)
        assert client.get(files).json()["items"] == []
