"""Fixtures of the agent's parts: its process table, its folders, its bash."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox.agent.bash import Bash
from sandbox.agent.environment import user_env
from sandbox.agent.hardening import adopt_orphans
from sandbox.agent.output import SpillNames
from sandbox.agent.processes import ProcessTable


@pytest.fixture
def orphans_are_ours() -> Iterator[None]:
    """This process adopts what its descendants leave behind, as the agent does."""
    adopt_orphans(True)
    yield
    adopt_orphans(False)


@pytest.fixture
async def processes(anyio_backend: str, orphans_are_ours: None) -> AsyncIterator[ProcessTable]:
    """A process table on the test's loop; every process that is left is killed and reaped."""
    before = signal.getsignal(signal.SIGCHLD)
    table = ProcessTable()
    table.start()
    yield table
    await table.kill_all()
    table.close()
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of the sandbox."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def spills(tmp_path: Path) -> Path:
    """The folder of spill files; it is there only once something spills."""
    return tmp_path / "files" / ".composio" / "output"


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    """The environment of user code."""
    return user_env(home=home, python=Path("/usr/bin/python3"), threads={})


@pytest.fixture
async def bash(processes: ProcessTable, home: Path, spills: Path, env: dict[str, str]) -> AsyncIterator[Bash]:
    """A bash runner; the pipes that background jobs hold are closed in the end."""
    runner = Bash(home=home, folder=spills, processes=processes, names=SpillNames(spills), env=env)
    yield runner
    runner.close()
