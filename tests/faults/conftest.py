"""Fixtures of the fault tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.runtimes.docker_address import EngineAddress, UnixAddress
from tests.conftest import lacking
from tests.support.controller import Controller
from tests.support.faults import PLANTED
from tests.support.faulty_engine import Bench, bench


@pytest.fixture(scope="session")
def engine_socket(docker_engine: EngineAddress) -> UnixAddress:
    """The engine's unix socket, for a proxy to stand before it."""
    if not isinstance(docker_engine, UnixAddress):
        lacking("the engine has no unix socket here", "unset DOCKER_HOST")
    return docker_engine


@pytest.fixture(scope="module")
def shared_bench(engine_socket: UnixAddress, sandbox_image: str) -> Iterator[Bench]:
    """A server behind a proxy for the tests of one file."""
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        bench(engine_socket, sandbox_image, Path(folder)) as made,
    ):
        yield made


@pytest.fixture
def workplace(shared_bench: Bench) -> Iterator[Bench]:
    """The shared server, with an engine that is well again after the test."""
    shared_bench.proxy.forget()
    yield shared_bench
    shared_bench.proxy.restore()


@pytest.fixture
def label(request: pytest.FixtureRequest) -> str:
    """A session label that no other test uses."""
    return f"of {request.node.name}"[:150]


@pytest.fixture(scope="module")
def fault_server(docker_engine: EngineAddress, sandbox_image: str) -> Iterator[Controller]:
    """A server of its own for the sandboxes of one file, with a secret in its environment and all of its log."""
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("COMPOSIO_API_KEY", PLANTED)
        server = Controller(Path(folder), docker_engine, sandbox_image, log_level="debug")
        try:
            server.start()
            yield server
        finally:
            server.close()
