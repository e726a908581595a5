"""The docker runtime over TCP and TLS: a small forwarder in front of the real engine."""

import asyncio
import contextlib
import secrets
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.errors import EngineUnavailable
from sandbox.pipe.peer import Peer
from sandbox.runtimes.base import SIZES, SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, UnixAddress, engine_address
from tests.conftest import lacking, remove_all
from tests.support.tls import make_certificates

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder as DOCKER_CERT_PATH names it."""
    if shutil.which("openssl") is None:
        lacking("no openssl command", "install the package `openssl`")
    make_certificates(tmp_path)
    return tmp_path


@asynccontextmanager
async def forwarder(engine: EngineAddress, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Give the port of a TCP server that passes all bytes to the engine's unix socket and back."""
    if not isinstance(engine, UnixAddress):
        lacking("the engine has no unix socket here", "unset DOCKER_HOST")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(engine.path)
        async with asyncio.TaskGroup() as both:
            both.create_task(copy(reader, engine_writer))
            both.create_task(copy(engine_reader, writer))
        for side in (writer, engine_writer):
            with contextlib.suppress(ConnectionError):
                await side.wait_closed()

    async with asyncio.TaskGroup() as connections:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.create_task(serve(reader, writer))

        async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls) as server:
            yield server.sockets[0].getsockname()[1]


async def use(runtime: DockerRuntime, installation: str) -> None:
    """Create, say hello twice, remove."""
    spec = SandboxSpec(f"n{secrets.token_hex(5)}", installation, SIZES["standard"])
    await runtime.create(spec)
    for _ in range(2):
        peer = Peer(await runtime.open(spec.sandbox_id))
        assert (await peer.sync()).boot
        peer.close()
    await remove_all(runtime, installation)


async def test_a_sandbox_works_over_plain_tcp(
    docker_engine: EngineAddress, sandbox_image: str, installation: str
) -> None:
    async with forwarder(docker_engine, None) as port:
        address = engine_address({"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})
        await use(DockerRuntime(image=sandbox_image, address=address), installation)


async def test_a_sandbox_works_over_tls_with_certificates_of_both_sides(
    docker_engine: EngineAddress, sandbox_image: str, installation: str, certificates: Path
) -> None:
    async with forwarder(docker_engine, _server_context(certificates)) as port:
        address = engine_address(
            {
                "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
                "DOCKER_TLS_VERIFY": "1",
                "DOCKER_CERT_PATH": str(certificates),
            }
        )
        await use(DockerRuntime(image=sandbox_image, address=address), installation)


async def test_an_engine_with_a_certificate_of_another_authority_is_refused(
    docker_engine: EngineAddress, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    make_certificates(other)
    async with forwarder(docker_engine, _server_context(certificates)) as port:
        environment = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(other)}
        address = engine_address(environment, url=f"tcp://127.0.0.1:{port}")
        runtime = DockerRuntime(image="any", address=address)
        with pytest.raises(EngineUnavailable, match="certificate verify failed"):
            await runtime.list("here")
        await runtime.close()


def _server_context(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context
