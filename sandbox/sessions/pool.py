"""The pool: booted sandboxes, kernel running, that belong to no session yet."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from sandbox.errors import RuntimeFault, WorkbenchError
from sandbox.sessions.background import Background
from sandbox.sessions.observer import Observer
from sandbox.sessions.sandbox import LiveSandbox

log = structlog.get_logger(__name__)

Boot = Callable[[], Awaitable[LiveSandbox]]

_RETRY_MAX_S = 60.0


class Pool:
    """Keeps `size` sandboxes of one size ready. Refills itself in the background, one at a time.

    `boot` makes one. What bounds when and how fast the pool may grow belongs into `_refill`, before the boot.
    """

    def __init__(
        self, boot: Boot, background: Background, observer: Observer, *, size: int, size_name: str, retry_s: float
    ) -> None:
        self._boot = boot
        self._background = background
        self._observer = observer
        self._size = size
        self._size_name = size_name
        self._retry_s = retry_s
        self._ready: deque[LiveSandbox] = deque()
        self._wanted = asyncio.Event()
        self._full = asyncio.Event()
        self._refilling: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._ready)

    def start(self) -> None:
        """Begin to fill."""
        if self._size > 0:
            self._refilling = self._background.spawn(self._keep_full(), "refill of the pool")
        self._count()

    def claim(self, size_name: str) -> LiveSandbox | None:
        """Give a ready sandbox of this size, the oldest first; None when there is none. Never waits."""
        if size_name != self._size_name:
            return None
        while self._ready:
            sandbox = self._ready.popleft()
            self._count()
            if not sandbox.gone:
                return sandbox
        return None

    async def filled(self) -> None:
        """Wait until the pool is full."""
        await self._full.wait()

    async def aclose(self) -> None:
        """Stop refilling and remove what is ready."""
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait({self._refilling})
        ready, self._ready = list(self._ready), deque()
        async with asyncio.TaskGroup() as group:
            for sandbox in ready:
                sandbox.retire("the pool was closed")
                group.create_task(self._remove(sandbox))

    async def _keep_full(self) -> None:
        delay_s = self._retry_s
        while True:
            if len(self._ready) >= self._size:
                self._wanted.clear()
                await self._wanted.wait()
            elif await self._refill():
                delay_s = self._retry_s
            else:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_MAX_S)

    async def _refill(self) -> bool:
        """Boot one sandbox into the pool. Whether that worked."""
        try:
            sandbox = await self._boot()
        except WorkbenchError as error:
            log.warning("the pool could not be refilled", error=error.slug, message=error.message)
            return False
        self._ready.append(sandbox)
        sandbox.when_gone(lambda cause: self._drop(sandbox, cause))
        self._count()
        return True

    def _drop(self, sandbox: LiveSandbox, cause: str) -> None:
        """Forget and remove a ready sandbox that is gone; the refill replaces it."""
        if sandbox not in self._ready:
            return
        log.warning("a sandbox of the pool is gone", sandbox=sandbox.sandbox_id, cause=cause)
        self._ready.remove(sandbox)
        self._count()
        self._background.spawn(self._remove(sandbox), f"removal of {sandbox.sandbox_id}")

    async def _remove(self, sandbox: LiveSandbox) -> None:
        try:
            await sandbox.remove()
        except RuntimeFault as error:
            log.warning("a sandbox could not be removed", sandbox=sandbox.sandbox_id, error=error.message)

    def _count(self) -> None:
        self._observer.pool_size(len(self._ready))
        if len(self._ready) >= self._size:
            self._full.set()
        else:
            self._full.clear()
            self._wanted.set()
