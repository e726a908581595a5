"""When nothing runs: the time for work that nobody waits for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Quiet:
    """Knows whether executions are under way, and waits for a pause of `quiet_s` between them."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._working = 0
        self._still = asyncio.Event()
        self._still.set()
        self._since: float | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Take it that an execution is under way meanwhile."""
        self._working += 1
        self._still.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._since = asyncio.get_running_loop().time()
                self._still.set()

    async def wait(self, at_most_s: float) -> None:
        """Wait until nothing has run for `quiet_s`, but not longer than `at_most_s`."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._reached()
        except TimeoutError:
            return

    async def _reached(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._still.wait()
            left_s = 0.0 if self._since is None else self._since + self._quiet_s - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)
