"""After 200 sessions and 2,000 executions controller, engine and disk hold what they held before."""

from pathlib import Path
from typing import Final

import pytest

from tests.leaks.conftest import POOL, Observed
from tests.leaks.load import Load

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.timeout(600)]

MIB: Final = 1024 * 1024
SESSIONS: Final = 200
RESIDENT_GROWTH_BYTES: Final = 32 * MIB
"""For fragmentation and for what is kept on purpose: ids of deleted sessions, recent executions."""

DATA_GROWTH_BYTES: Final = 8 * MIB
"""For the rows of 200 deleted sessions and for SQLite's write-ahead log, which SQLite keeps at about 4 MB."""


async def test_200_sessions_and_2000_executions_leave_nothing_behind(observed: Observed) -> None:
    async with Load(observed.server.url) as warm_up:
        # More at once than later: every pool of threads and connections is as large as it gets.
        await warm_up.sessions(16, at_once=8, name="warm up")
    base = observed.at_rest(containers=POOL)
    resident, stored = observed.resident_bytes(), _stored_bytes(observed.server.data_dir)
    async with Load(observed.server.url) as load:
        await load.sessions(SESSIONS, at_once=4, name="load")
        done = load.done
    assert done["deleted"] == SESSIONS
    assert done["followed"] == SESSIONS
    assert done["disconnected"] == SESSIONS // 5
    assert done["timed_out"] == SESSIONS // 10 * 2
    assert done["kernel_died"] == SESSIONS // 10
    held = observed.settled(base)
    assert not held.over(base)
    assert observed.resident_bytes() - resident < RESIDENT_GROWTH_BYTES
    assert _stored_bytes(observed.server.data_dir) - stored < DATA_GROWTH_BYTES


def _stored_bytes(data_dir: Path) -> int:
    return sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file() and path.suffix != ".log")
