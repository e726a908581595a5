"""A real SQLite store whose writes of results can be made to hang or to fail, as those of a database do."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sandbox.errors import StoreUnavailable
from sandbox.sessions.record import ExecutionRecord
from sandbox.sessions.store_sql import SqlStore


class ScriptedStore(SqlStore):
    """`writes`: while cleared, results wait to be written; `writing`: released when a write begins.

    `broken`: writes of results fail. `batches`: how many results each write that worked had.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/workbench.db")
        self.writes = asyncio.Event()
        self.writes.set()
        self.writing = asyncio.Semaphore(0)
        self.broken = False
        self.batches: list[int] = []

    async def keep_executions(self, ended: Sequence[ExecutionRecord], *, per_session: int) -> None:
        self.writing.release()
        await self.writes.wait()
        if self.broken:
            raise StoreUnavailable("the database is away")
        await super().keep_executions(ended, per_session=per_session)
        self.batches.append(len(ended))
