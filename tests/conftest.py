"""Fixtures shared by all tests, and the one policy for what a machine lacks: skip loudly, but fail in CI."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import docker.errors
import pytest
import requests

from sandbox import __version__
from sandbox.runtimes.base import Runtime
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, engine_address
from sandbox.runtimes.docker_engine import make_client
from sandbox.runtimes.process import ProcessRuntime

# Tests start hundreds of interpreters: what the first one compiled, of ours and of the tests, is there for the others.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The service runs on asyncio, so its tests do."""
    return "asyncio"


def lacking(what: str, remedy: str) -> NoReturn:
    """Skip with words, or fail where CI=true says that nothing may be lacking."""
    words = f"{what}: {remedy}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="session")
def docker_engine() -> EngineAddress:
    """The address of a Docker engine that answers."""
    address = engine_address(os.environ)
    try:
        with make_client(address, timeout_s=10) as client:
            client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        lacking(f"no Docker engine answers at {address} ({error})", "start it, or set DOCKER_HOST")
    return address


@pytest.fixture(scope="session")
def sandbox_image(docker_engine: EngineAddress) -> str:
    """The name of the sandbox image, which the engine has."""
    image = os.environ.get("WORKBENCH_IMAGE") or f"workbench-sandbox:{__version__}"
    with make_client(docker_engine, timeout_s=10) as client:
        if not client.images(name=image, quiet=True):
            lacking(f"the engine has no image {image}", "build it with `workbench image build`")
    return image


@pytest.fixture(scope="session")
def installation() -> str:
    """The name that all sandboxes of this test run carry, and no other's."""
    return f"test{secrets.token_hex(4)}"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder with a short path: unix sockets must fit in it, which pytest's `tmp_path` can prevent."""
    folder = Path(tempfile.mkdtemp(prefix="wbt-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def docker_runtime(
    anyio_backend: str, docker_engine: EngineAddress, sandbox_image: str, installation: str
) -> AsyncIterator[DockerRuntime]:
    """A Docker runtime; what a test leaves behind is removed."""
    runtime = DockerRuntime(image=sandbox_image, address=docker_engine)
    yield runtime
    await remove_all(runtime, installation)


@pytest.fixture
async def process_runtime(anyio_backend: str, short_folder: Path, installation: str) -> AsyncIterator[ProcessRuntime]:
    """A process runtime; what a test leaves behind is removed."""
    runtime = ProcessRuntime(unsafe=True, folder=short_folder)
    yield runtime
    await remove_all(runtime, installation)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime in turn."""
    found: Runtime = request.getfixturevalue(f"{request.param}_runtime")
    return found


async def remove_all(runtime: Runtime, installation: str) -> None:
    """Remove every sandbox of an installation and close the runtime."""
    for info in await runtime.list(installation):
        await runtime.remove(info.sandbox_id)
    await runtime.close()
