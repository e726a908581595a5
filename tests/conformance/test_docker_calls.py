"""What the docker runtime tells of its calls to the engine and of its pipes."""

import pytest

from sandbox.errors import SandboxGone
from sandbox.pipe.peer import Peer
from sandbox.pipe.traffic import Traffic
from sandbox.runtimes.base import SIZES, SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import DockerEngine
from sandbox.sessions import ids

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


async def test_every_call_to_the_engine_is_told_with_its_outcome(docker_engine: EngineAddress) -> None:
    told: list[tuple[str, str]] = []

    def on_call(operation: str, outcome: str, seconds: float) -> None:
        assert seconds > 0
        told.append((operation, outcome))

    engine = DockerEngine(docker_engine, timeout_s=10, on_call=on_call)
    try:
        await engine.call(lambda client: client.version(), what="say its version")
        with pytest.raises(SandboxGone):
            await engine.call(lambda client: client.inspect_container("no-such"), what="inspect sandbox no-such")
    finally:
        await engine.close()
    assert told == [("say", "ok"), ("inspect", "Sandbox_Gone")]


async def test_bytes_of_all_pipes_are_counted_in_both_directions(
    docker_engine: EngineAddress, sandbox_image: str, installation: str
) -> None:
    traffic = Traffic()
    runtime = DockerRuntime(image=sandbox_image, address=docker_engine, traffic=traffic)
    spec = SandboxSpec(ids.sandbox_id(), installation, SIZES["standard"])
    try:
        await runtime.create(spec)
        peer = Peer(await runtime.open(spec.sandbox_id))
        before = Traffic(traffic.received, traffic.sent)
        await peer.sync()
        assert traffic.received > before.received
        assert traffic.sent > before.sent
        peer.close()
    finally:
        await runtime.remove(spec.sandbox_id)
        await runtime.close()
