"""The agent of a real container that is killed and started again: it cleans up, and nothing user code left stops it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import docker
import pytest

from sandbox.pipe.peer import Peer
from sandbox.runtimes.conformance_bench import Bench, Subject
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.timeout(120)]

FOLDERS: Final = "ls -d /run/workbench/*"


@dataclass(frozen=True)
class Again:
    """A sandbox whose container can be killed and started again. `engine` is the engine's own client."""

    subject: Subject
    runtime: DockerRuntime
    engine: docker.APIClient

    async def killed_and_started(self) -> None:
        """End all of its processes as a power cut does, and start the same container."""
        subject = self.subject
        document = await self.runtime.inspect_document(subject.sandbox_id)
        assert document is not None
        self.engine.kill(document["Id"])
        self.engine.wait(document["Id"])
        subject.peer.close()
        await self.runtime.start(subject.sandbox_id)
        subject.peer = Peer(await self.runtime.open(subject.sandbox_id))
        subject.hello = await subject.peer.sync()

    async def said(self, command: str) -> list[str]:
        """Run a command; the words it printed."""
        return (await self.subject.bash(command)).stdout.text.split()

    async def works(self) -> None:
        """Python answers."""
        assert (await self.subject.code("6 * 7")).value.text == "42"


@pytest.fixture
async def again(docker_runtime: DockerRuntime, docker_engine: EngineAddress, installation: str) -> AsyncIterator[Again]:
    with make_client(docker_engine, timeout_s=60) as engine:
        async with Bench(docker_runtime, installation) as bench:
            yield Again(await bench.fresh(), docker_runtime, engine)


async def test_a_killed_agent_leaves_no_folder_to_the_next_one(again: Again) -> None:
    (first,) = await again.said(FOLDERS)
    for _ in range(2):
        await again.killed_and_started()
        (second,) = await again.said(FOLDERS)
        assert second != first
    await again.works()


async def test_what_user_code_put_there_neither_stops_the_agent_nor_leads_it_out(again: Again) -> None:
    await again.said(
        "mkdir ~/mine; echo kept > ~/mine/kept; cd /run/workbench; ln -s ~/mine agent-link; echo > agent-file\n"
        "mkdir -p agent-full/k1; ln -s ~/mine agent-full/k1/s-1; mkdir other; mkdir agent-shut; chmod 0 agent-shut"
    )
    await again.subject.code(
        "import os\nos.mkdir('/run/workbench/agent-deep'); os.chdir('/run/workbench/agent-deep')\n"
        "for _ in range(1500): os.mkdir('d'); os.chdir('d')"
    )
    await again.killed_and_started()
    assert await again.said("cat ~/mine/kept") == ["kept"]
    assert "/run/workbench/other" in await again.said(FOLDERS)
    assert "/run/workbench/agent-full" not in await again.said(FOLDERS)
    await again.works()


@pytest.mark.parametrize(
    ("harm", "mend"),
    [
        pytest.param("chmod 0 /mnt/files/.composio", "chmod 755 /mnt/files/.composio", id="spills shut"),
        pytest.param("chmod 0 /mnt/files", "chmod 755 /mnt/files", id="files shut"),
        pytest.param("chmod 0 ~", "chmod 755 ~", id="home shut"),
        pytest.param("rm -rf ~/* ~/.code_out; chmod 500 ~", "true", id="home empty and read-only"),
        pytest.param(
            "rm -rf /mnt/files/.composio; ln -s x /mnt/files/.composio", "true", id="a link that leads nowhere"
        ),
        pytest.param("cd /mnt/files; rm -rf .composio; ln -s .composio .composio", "true", id="a link to itself"),
        pytest.param("cd /mnt/files; rm -rf .composio; echo > .composio", "true", id="a file in the way"),
        pytest.param("chmod 0 /run/workbench", "true", id="no place for sockets"),
    ],
)
async def test_folders_that_were_shut_or_replaced_do_not_cost_the_files(again: Again, harm: str, mend: str) -> None:
    await again.said(f"echo kept > /mnt/files/kept; {harm}")
    await again.killed_and_started()
    assert await again.said(f"{mend}; cat /mnt/files/kept") == ["kept"]
    await again.works()
