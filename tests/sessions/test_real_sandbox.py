"""The manager over real agents: kernels, bash, and processes that die."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.pipe.messages import BashResult, CodeResult, Ending, LiveOutput, RunBash, RunCode
from sandbox.runtimes.base import Runtime
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from tests.support.borrowed import borrowed

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def manager(runtime: Runtime, installation: str, tmp_path: Path) -> AsyncIterator[SessionManager]:
    """A manager with a pool of one, which leaves no sandbox behind when it is closed."""
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    manager = SessionManager(borrowed(runtime), store, installation=installation, limits=SessionLimits(pool_size=1))
    await manager.start_up()
    yield manager
    # A boot that is cut off is taken away when the runtime closes, which is later than the look below.
    await manager.pool.filled()
    await manager.aclose()
    assert await runtime.list(installation) == []


async def python(manager: SessionManager, session: Session, code: str, timeout_s: float = 60) -> CodeResult:
    result = await (await manager.start(session, RunCode(code), timeout_s=timeout_s)).wait()
    assert isinstance(result, CodeResult)
    return result


async def bash(manager: SessionManager, session: Session, command: str) -> BashResult:
    result = await (await manager.start(session, RunBash(command), timeout_s=60)).wait()
    assert isinstance(result, BashResult)
    return result


async def test_variables_and_files_live_from_one_execution_to_the_next(manager: SessionManager) -> None:
    session = await manager.resolve("ann", "work", None)
    assert (await python(manager, session, "x = 41; print('set')")).stdout.text == "set\n"
    result = await python(manager, session, "x + 1")
    assert (result.value.text.strip(), result.variables_kept) == ("42", True)
    await bash(manager, session, "echo from bash > note.txt")
    assert (await python(manager, session, "print(open('note.txt').read(), end='')")).stdout.text == "from bash\n"
    assert (await bash(manager, session, "exit 3")).exit_code == 3


async def test_two_sessions_do_not_see_each_other(manager: SessionManager) -> None:
    one, two = await manager.resolve("ann", "one", None), await manager.resolve("ann", "two", None)
    await python(manager, one, "secret = 1")
    result = await python(manager, two, "secret")
    assert result.error is not None
    assert result.error.name == "NameError"


async def test_fifty_requests_at_once_for_a_new_label_share_one_kernel(manager: SessionManager) -> None:
    async def request(number: int) -> str:
        session = await manager.resolve("ann", "new", None)
        await python(manager, session, f"seen = globals().get('seen', set()) | {{{number}}}")
        return session.id

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(request(number)) for number in range(50)]
    assert len({task.result() for task in tasks}) == 1
    session = await manager.resolve("ann", "new", None)
    assert (await python(manager, session, "len(seen)")).value.text.strip() == "50"


async def test_a_source_over_the_line_limit_runs(manager: SessionManager) -> None:
    session = await manager.resolve("ann", "work", None)
    text = "☃" * 700_000
    assert (await python(manager, session, f"text = '{text}'; print(len(text))")).stdout.text == "700000\n"
    assert (await bash(manager, session, f"cat <<'E' | wc -m\n{text}\nE")).stdout.text.strip() == "700001"


async def test_live_output_comes_while_the_code_runs(manager: SessionManager) -> None:
    session = await manager.resolve("ann", "work", None)
    code = "import time\nprint('first', flush=True)\nwhile True: time.sleep(0.1)"
    execution = await manager.start(session, RunCode(code), timeout_s=60)
    async for event in execution.follow():
        if isinstance(event.body, LiveOutput):
            assert "first" in event.body.text
            execution.interrupt()
            break
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    assert (result.ending, result.variables_kept, result.stdout.text) == (Ending.INTERRUPTED, True, "first\n")


async def test_a_restarted_kernel_has_lost_its_variables_and_kept_its_files(manager: SessionManager) -> None:
    session = await manager.resolve("ann", "work", None)
    await python(manager, session, "x = 1; open('kept', 'w').write('yes')")
    await manager.restart_kernel(session)
    result = await python(manager, session, "print(open('kept').read(), 'x' in globals())")
    assert result.stdout.text == "yes False\n"


async def test_a_sandbox_removed_from_outside_ends_what_runs_and_the_next_request_has_a_new_one(
    manager: SessionManager, runtime: Runtime
) -> None:
    session = await manager.resolve("ann", "work", None)
    await python(manager, session, "x = 1")
    status = await manager.status(session)
    assert status is not None
    execution = await manager.start(session, RunCode("import time; time.sleep(100)"), timeout_s=110)
    await anext(aiter(execution.follow()))
    await runtime.remove(status.sandbox_id)
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    assert (result.ending, result.variables_kept, result.files_kept) == (Ending.SANDBOX_GONE, False, False)
    following = await manager.start(session, RunCode("print('x' in globals())"), timeout_s=60)
    assert (await following.wait()).stdout.text == "False\n"
    assert following.recreated is not None
    assert following.sandbox_suffix != status.suffix


async def test_a_deleted_session_leaves_no_sandbox(
    manager: SessionManager, runtime: Runtime, installation: str
) -> None:
    session = await manager.resolve("ann", "work", None)
    execution = await manager.start(session, RunCode("import time; time.sleep(100)"), timeout_s=110)
    await anext(aiter(execution.follow()))
    await manager.delete("ann", session.id)
    assert (await execution.wait()).ending is Ending.SANDBOX_GONE
    left = {info.sandbox_id[-4:] for info in await runtime.list(installation)}
    assert execution.sandbox_suffix not in left
