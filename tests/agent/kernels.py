"""A real kernel for tests, started with this interpreter in a folder of its own."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox.agent.cells import Cells
from sandbox.agent.environment import user_env
from sandbox.agent.output import SpillNames
from sandbox.agent.processes import ProcessTable
from sandbox.helper_source import helpers_folder
from sandbox.limits import OUTPUT_SUBDIR
from sandbox.pipe.messages import CodeResult, Progress

PROGRAMS = Path(__file__).with_name("programs")


def program(name: str) -> str:
    """Give the code of a misbehaving program."""
    return (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")


def read(path: str) -> bytes:
    """Give the content of a file."""
    return Path(path).read_bytes()


def listed(folder: Path) -> list[str]:
    """Give the names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until something is so, for at most 10 seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0)


class Place:
    """Cells over a real kernel in `folder`."""

    def __init__(
        self,
        folder: Path,
        processes: ProcessTable,
        python: str = sys.executable,
        relay: Path | None = None,
        helpers: Path | None = None,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.output = folder / "files" / OUTPUT_SUBDIR
        self.cells = Cells(
            python=python,
            home=self.home,
            files=folder / "files",
            private=folder / "p",
            processes=processes,
            names=SpillNames(self.output),
            env=user_env(
                home=self.home,
                python=Path(sys.executable),
                threads={},
                helpers=helpers or helpers_folder(),
                relay=relay,
            ),
        )

    async def run(
        self,
        code: str,
        *,
        timeout_s: float = 60,
        queue_timeout_s: float = 60,
        interrupted: asyncio.Event | None = None,
        emit: Callable[[Progress], None] | None = None,
    ) -> CodeResult:
        """Run a cell."""
        return await self.cells.run(
            code,
            timeout_s=timeout_s,
            queue_timeout_s=queue_timeout_s,
            interrupted=interrupted or asyncio.Event(),
            emit=emit,
        )

    async def value(self, code: str) -> str:
        """Run a cell that must complete and give its value's text."""
        result = await self.run(code)
        assert result.ending == "completed", result
        return result.value.text

    async def usable(self) -> None:
        """The next cell, sent at once, answers."""
        assert await self.value("40 + 2") == "42"


@asynccontextmanager
async def place(
    python: str = sys.executable, relay: Path | None = None, helpers: Path | None = None
) -> AsyncIterator[Place]:
    """Open a place whose kernel is being started; everything is gone afterwards.

    `relay`: what its helpers call. `helpers`: where they are, when it is not the package itself.
    """
    folder = Path(tempfile.mkdtemp(prefix="wbk-"))
    before = signal.getsignal(signal.SIGCHLD)
    processes = ProcessTable()
    processes.start()
    opened = Place(folder, processes, python, relay, helpers)
    try:
        await opened.cells.start()
        yield opened
    finally:
        await opened.cells.aclose()
        await processes.kill_all()
        processes.close()
        signal.signal(signal.SIGCHLD, before)
        shutil.rmtree(folder, ignore_errors=True)
