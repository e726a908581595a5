"""The helpers in real sandboxes, over the agent's own relay, without a gateway behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import helpers
from sandbox.pipe.messages import BashResult, CodeResult, Ending, RunBash, RunCode
from sandbox.runtimes.base import Runtime
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from tests.support.borrowed import borrowed

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
NAMES = [helper.__name__ for helper in helpers.FUNCTIONS]
ALL_THERE = f"all(callable(globals().get(name)) for name in {NAMES})"
CALL = "run_composio_tool('A_B', {'n': 1})"
ANSWER = "helpers are switched off: this controller has no gateway"


class Sandboxed:
    """A session and what runs in it."""

    def __init__(self, manager: SessionManager, session: Session) -> None:
        self._manager = manager
        self._session = session

    async def python(self, code: str) -> CodeResult:
        result = await (await self._manager.start(self._session, RunCode(code), timeout_s=60)).wait()
        assert isinstance(result, CodeResult)
        return result

    async def bash(self, command: str) -> BashResult:
        result = await (await self._manager.start(self._session, RunBash(command), timeout_s=60)).wait()
        assert isinstance(result, BashResult)
        return result


@pytest.fixture
async def sandbox(runtime: Runtime, installation: str, tmp_path: Path) -> AsyncIterator[Sandboxed]:
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    manager = SessionManager(borrowed(runtime), store, installation=installation, limits=SessionLimits(pool_size=0))
    await manager.start_up()
    yield Sandboxed(manager, await manager.resolve("ann", "work", None))
    await manager.aclose()


async def test_helpers_reach_the_controller_from_every_kernel_and_from_bash(sandbox: Sandboxed) -> None:
    assert (await sandbox.python(ALL_THERE)).value.text.strip() == "True"
    assert (await sandbox.python(f"print({CALL}[1])")).stdout.text == f"{ANSWER}\n"
    assert (await sandbox.python("import os; os._exit(1)")).ending is Ending.KERNEL_DIED
    assert (await sandbox.python(ALL_THERE)).value.text.strip() == "True"
    assert (await sandbox.python(f"print({CALL}[1])")).stdout.text == f"{ANSWER}\n"
    command = await sandbox.bash("helper run_composio_tool A_B '{\"n\": 1}'")
    assert (command.exit_code, command.stdout.text, command.stderr.text) == (1, "", f"{ANSWER}\n")


async def test_the_command_is_found_and_documents_are_read(sandbox: Sandboxed) -> None:
    listed = await sandbox.bash("helper --help")
    assert (listed.exit_code, listed.stderr.text) == (0, "")
    assert all(name in listed.stdout.text for name in NAMES)
    code = "open('a.txt', 'wb').write('Größe'.encode('cp1252')); smart_file_extract('a.txt', False)"
    assert (await sandbox.python(code)).value.text.strip() == "('Größe\\n', '')"
