"""Every hardening rule, asserted on the running container; and no secret of the controller inside it."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import docker.errors
import pytest

from sandbox.pipe.messages import BashResult, CodeResult, RunBash, RunCode, WaitReady
from sandbox.pipe.peer import Peer, expect
from sandbox.runtimes import docker_spec
from sandbox.runtimes.base import SIZES, Runtime, SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def spec(installation: str) -> SandboxSpec:
    return SandboxSpec(f"h{secrets.token_hex(5)}", installation, SIZES["standard"])


@pytest.fixture(scope="module")
async def document(
    anyio_backend: str, docker_engine: EngineAddress, sandbox_image: str, installation: str
) -> AsyncIterator[dict[str, Any]]:
    """The engine's inspect document of a running sandbox of the real image."""
    runtime = DockerRuntime(image=sandbox_image, address=docker_engine)
    await runtime.create(SandboxSpec("inspected", f"{installation}m", SIZES["standard"]))
    found = await runtime.inspect_document("inspected")
    assert found is not None
    assert found["State"]["Running"]
    yield found
    await runtime.remove("inspected")
    await runtime.close()


@pytest.mark.docker
@pytest.mark.parametrize("rule", docker_spec.HARDENING, ids=lambda rule: rule.name)
async def test_a_running_sandbox_keeps_the_rule(document: dict[str, Any], rule: docker_spec.Rule) -> None:
    assert rule.broken(document) is None


@pytest.mark.docker
async def test_the_engine_keeps_no_log_of_the_pipe(document: dict[str, Any], docker_engine: EngineAddress) -> None:
    assert document["LogPath"] == ""
    with (
        make_client(docker_engine, timeout_s=30) as client,
        pytest.raises(docker.errors.APIError, match="logging driver"),
    ):
        client.logs(document["Id"])


@pytest.mark.docker
async def test_the_cgroup_view_is_its_own_where_the_engine_can_do_that(
    document: dict[str, Any], docker_engine: EngineAddress
) -> None:
    with make_client(docker_engine, timeout_s=30) as client:
        version = client.info()["CgroupVersion"]
    assert document["HostConfig"]["CgroupnsMode"] == ("private" if version == "2" else "host")


@pytest.mark.docker
async def test_a_sandbox_has_no_address(document: dict[str, Any]) -> None:
    networks = document["NetworkSettings"]["Networks"]
    assert set(networks) <= {"none"}
    assert not any(network["IPAddress"] for network in networks.values())
    assert not document["NetworkSettings"]["Ports"]


_SECRET_NAMES = ("COMPOSIO_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "WORKBENCH_API_KEYS", "HARMLESS_NAME")


async def test_nothing_of_the_controllers_environment_reaches_a_sandbox(
    runtime: Runtime, spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = secrets.token_hex(16)
    for name in _SECRET_NAMES:
        monkeypatch.setenv(name, canary)
    peer = await _open(runtime, spec)
    # The canary is put together in there, so that asking for it does not plant it.
    half, rest = canary[:16], canary[16:]
    code = RunCode(f"import os\nprint('{half}' + '{rest}' in str(os.environ))")
    said = expect(await peer.call(code, timeout_s=60), CodeResult)
    assert said.stdout.text == "False\n"
    command = RunBash(f"c={half}; env | grep -c ${{c}}{rest}")
    assert expect(await peer.call(command, timeout_s=60), BashResult).stdout.text == "0\n"
    peer.close()


@pytest.mark.docker
async def test_no_file_and_no_process_of_a_sandbox_holds_a_secret(
    docker_runtime: DockerRuntime, spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = secrets.token_hex(16)
    for name in _SECRET_NAMES:
        monkeypatch.setenv(name, canary)
    peer = await _open(docker_runtime, spec)
    said = expect(await peer.call(RunCode(_search(canary)), timeout_s=120), CodeResult)
    assert (said.stderr.text, said.stdout.text.splitlines()[:-1]) == ("", [])
    assert said.stdout.text.startswith("searched ")
    # The search does find what is there.
    planted = RunBash(f"c={canary[:16]}; echo ${{c}}{canary[16:]} > /tmp/planted")
    await peer.call(planted, timeout_s=60)
    said = expect(await peer.call(RunCode(_search(canary)), timeout_s=120), CodeResult)
    assert said.stdout.text.splitlines()[0] == "/tmp/planted"
    peer.close()


def _search(canary: str) -> str:
    """Python that names every recent file and every process with the canary, which it holds only in two halves."""
    return f"""
import glob, os, time
canary = b'{canary[:16]}' + b'{canary[16:]}'
places = glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline')
for folder, folders, files in os.walk('/'):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ('/proc', '/sys')]
    places += [path for name in files if os.path.isfile(path := os.path.join(folder, name))
               and os.stat(path).st_mtime > time.time() - 600]
seen = 0
for place in places:
    try:
        content = open(place, 'rb').read()
    except OSError:
        continue
    seen += 1
    if canary in content:
        print(place)
print('searched', seen)
"""


async def _open(runtime: Runtime, spec: SandboxSpec) -> Peer:
    await runtime.create(spec)
    peer = Peer(await runtime.open(spec.sandbox_id))
    await peer.sync()
    await peer.call(WaitReady(), timeout_s=60)
    return peer
