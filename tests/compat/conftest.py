"""Environments with the published clients, and real servers for them."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.api.conftest import KEY, OTHER_KEY, ROOT, Server, client, running_server, server, session
from tests.compat.environments import Environments, NotInstalled
from tests.compat.versions import PythonEnvironment
from tests.conftest import lacking
from tests.support.api_host import CREDENTIAL, ApiHost
from tests.support.faulty_server import in_thread

__all__ = ["client", "server", "session"]

_ECHO: Final = [sys.executable, "-m", "tests.support.mcp_echo", "stdio"]
_REMEDY: Final = "check that a package registry can be reached"


@contextmanager
def serving(**settings: str) -> Iterator[Server]:
    """Run a server with the process runtime, a toolkit of tools (`echo`) and an API that can be called (`github`)."""
    api = ApiHost()
    with (
        in_thread(api),
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(
            Path(folder),
            api_keys=f"{KEY},{OTHER_KEY}",
            mcp_servers=json.dumps({"echo": {"command": _ECHO, "env": {"PYTHONPATH": str(ROOT)}}}),
            proxy_hosts=json.dumps({"github": {"base_url": api.base_url, "credential": CREDENTIAL}}),
            **settings,
        ) as running,
    ):
        yield running


@contextmanager
def full_serving() -> Iterator[Server]:
    """Run a server that has room for one sandbox, which is taken, and lets nobody wait."""
    with serving(max_sandboxes="1", pool_size="0", admission_queue="0", make_room_after_s="0") as running:
        running.run("1", session="taken")
        yield running


@pytest.fixture(scope="session")
def environments() -> Iterator[Environments]:
    """All environments; each is made at its first use, once for all runs."""
    made = Environments()
    yield made
    made.close()


@pytest.fixture(scope="session")
def compat() -> Iterator[Server]:
    """The server that all published clients use."""
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def full() -> Iterator[Server]:
    """A server without room."""
    with full_serving() as running:
        yield running


def python_of(environments: Environments, wanted: PythonEnvironment) -> Path:
    """Give an environment's interpreter, or say what is lacking."""
    try:
        return environments.python(wanted)
    except NotInstalled as error:
        lacking(f"no environment {wanted.name} ({error})", _REMEDY)


def node_of(environments: Environments) -> Path:
    """Give the folder of the Node packages, or say what is lacking."""
    try:
        return environments.node()
    except NotInstalled as error:
        lacking(f"no Node packages ({error})", _REMEDY)
