"""The pool: booted sandboxes, kernel running, that belong to no session yet."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from sandbox.errors import RuntimeFault, WorkbenchError
from sandbox.pipe.messages import KernelState
from sandbox.sessions.background import Background
from sandbox.sessions.debts import Owe
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.quiet import Quiet
from sandbox.sessions.sandbox import LiveSandbox

log = structlog.get_logger(__name__)

Ask = Callable[[], Awaitable[str]]
"""Names the image that sandboxes are made from now: another name only for another image."""

Boot = Callable[[Callable[[], None]], Awaitable[LiveSandbox]]
"""Boots one sandbox, and calls what it is given when it begins: until then it waits for room."""

_RETRY_MAX_S = 60.0


class Pool:
    """Keeps `size` sandboxes of one size ready. Refills itself in the background, one at a time, in quiet moments.

    `boot` makes one as soon as there is room and nothing else starts. `changed` is called when the number of ready
    ones changed, `removed` with the id of one that nobody had and that is away.
    """

    def __init__(
        self,
        boot: Boot,
        background: Background,
        observer: Observer,
        *,
        owe: Owe,
        size: int,
        quiet: Quiet,
        limits: SessionLimits,
        made_with: Ask,
        changed: Callable[[], None],
        removed: Callable[[str], None],
    ) -> None:
        self._boot = boot
        self._background = background
        self._observer = observer
        self._owe = owe
        self._size = size
        self._quiet = quiet
        self._limits = limits
        self._made_with = made_with
        self._seen: str | None = None
        self._changed = changed
        self._removed = removed
        self._ready: deque[LiveSandbox] = deque()
        self._since: dict[str, float] = {}
        self._wanted = asyncio.Event()
        self._full = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._booting = False
        self._heir: asyncio.Future[LiveSandbox] | None = None
        self._going: set[LiveSandbox] = set()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def ready(self) -> list[LiveSandbox]:
        """Those that are ready, the oldest first."""
        return list(self._ready)

    @property
    def going(self) -> set[str]:
        """The ids of those that are being removed."""
        return {sandbox.sandbox_id for sandbox in self._going}

    @property
    def booting(self) -> bool:
        """Whether one boots that nobody waits for."""
        return self._booting and (self._heir is None or self._heir.done())

    def start(self) -> None:
        """Begin to fill."""
        if self._size > 0:
            self._tasks = [
                self._background.spawn(self._keep_full(), "refill of the pool"),
                self._background.spawn(self._keep_fresh(), "checks of the pool"),
            ]
        self._count()

    def claim(self) -> LiveSandbox | None:
        """Give a ready sandbox, the oldest first; None when there is none. Never waits."""
        for sandbox in self._ready:
            if sandbox.connected:  # one whose pipe is cut comes back, or drops itself
                self._take(sandbox)
                self._observer.pool_event("hit")
                return sandbox
        self._observer.pool_event("miss")
        return None

    async def next_one(self) -> LiveSandbox | None:
        """Give the sandbox of a refill that boots now, when nobody else waits for that one; None: there is no such.

        Raises:
            WorkbenchError: it did not start.
        """
        if not self._booting or self._heir is not None:
            return None
        heir: asyncio.Future[LiveSandbox] = asyncio.get_running_loop().create_future()
        self._heir = heir
        self._changed()  # who waits for room cannot count on that one any more
        try:
            return await heir
        except asyncio.CancelledError:
            if heir.done() and not heir.cancelled() and heir.exception() is None:
                self._put(heir.result())
            raise

    def give_up(self, sandbox: LiveSandbox) -> None:
        """Begin to remove a ready sandbox: its room is needed."""
        self._replace(sandbox, "its room was needed", "given_up")

    async def filled(self) -> None:
        """Wait until the pool is full."""
        await self._full.wait()

    async def aclose(self) -> None:
        """Stop refilling and remove what is ready."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        ready, self._ready = list(self._ready), deque()
        async with asyncio.TaskGroup() as group:
            for sandbox in ready:
                sandbox.retire("the pool was closed")
                group.create_task(self._remove(sandbox))

    # --- refill ---------------------------------------------------------------------------------------

    async def _keep_full(self) -> None:
        delay_s = self._limits.pool_retry_s
        while True:
            if len(self._ready) >= self._size:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            await self._quiet.wait(self._limits.pool_postpone_s)
            if await self._refill():
                delay_s = self._limits.pool_retry_s
                await asyncio.sleep(self._limits.pool_interval_s)
            else:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_MAX_S)

    async def _refill(self) -> bool:
        """Boot one sandbox, for the pool or for who waits for it by now. Whether that worked."""
        failure: WorkbenchError | None = None
        sandbox: LiveSandbox | None = None
        try:
            sandbox = await self._boot(self._begun)
        except WorkbenchError as error:
            failure = error
        finally:
            self._booting = False
            heir, self._heir = self._heir, None
            if sandbox is None and heir is not None and not heir.done():
                heir.set_exception(failure) if failure is not None else heir.cancel()
        if sandbox is None:
            words, fix = (str(failure), failure.suggested_fix) if failure is not None else ("", None)
            log.warning("the pool could not be refilled", message=words, fix=fix)
            self._observer.pool_event("refill_failed")
            return False
        self._observer.pool_event("refilled")
        if heir is not None and not heir.done():
            heir.set_result(sandbox)
        else:
            self._put(sandbox)
            log.info("the pool was refilled", sandbox=sandbox.sandbox_id, ready=len(self._ready))
        return True

    def _begun(self) -> None:
        self._booting = True

    # --- what is ready --------------------------------------------------------------------------------

    async def _keep_fresh(self) -> None:
        await self._image_changed()
        while True:
            await asyncio.sleep(self._limits.pool_check_s)
            changed = await self._image_changed()
            for sandbox in list(self._ready):
                why = "the image changed" if changed else await self._fault_of(sandbox)
                if why is not None and sandbox in self._ready:
                    self._replace(sandbox, why, "replaced")

    async def _image_changed(self) -> bool:
        """Whether sandboxes are made from another image than at the last look."""
        try:
            seen = await self._made_with()
        except WorkbenchError:
            return False
        before, self._seen = self._seen, seen
        return before not in (None, seen)

    async def _fault_of(self, sandbox: LiveSandbox) -> str | None:
        """Say why a ready sandbox should be replaced; None: it is fine."""
        if monotonic() - self._since.get(sandbox.sandbox_id, monotonic()) > self._limits.pool_max_age_s:
            return "it waited for too long"
        try:
            async with asyncio.timeout(self._limits.call_deadline_s):
                status = await sandbox.status()
        except (WorkbenchError, TimeoutError):
            return "it does not answer"
        if status.agent is None or status.agent.kernel is not KernelState.IDLE:
            return "its kernel is not idle"
        return None

    def _put(self, sandbox: LiveSandbox) -> None:
        self._ready.append(sandbox)
        self._since[sandbox.sandbox_id] = monotonic()
        sandbox.when_gone(lambda cause: self._drop(sandbox, cause))
        self._count()

    def _take(self, sandbox: LiveSandbox) -> None:
        self._ready.remove(sandbox)
        self._since.pop(sandbox.sandbox_id, None)
        self._count()

    def _drop(self, sandbox: LiveSandbox, cause: str) -> None:
        """Forget and remove a ready sandbox that is gone; the refill replaces it."""
        if sandbox in self._ready:
            self._replace(sandbox, cause, "lost")

    def _replace(self, sandbox: LiveSandbox, why: str, event: str) -> None:
        log.warning("a sandbox of the pool is removed", sandbox=sandbox.sandbox_id, cause=why)
        self._going.add(sandbox)  # before it counts no more, or another one would be given up for the same room
        self._observer.pool_event(event)
        self._take(sandbox)
        sandbox.retire(why)
        self._background.spawn(self._remove(sandbox), f"removal of {sandbox.sandbox_id}")

    async def _remove(self, sandbox: LiveSandbox) -> None:
        try:
            await sandbox.remove()
        except RuntimeFault as error:
            log.warning("a sandbox could not be removed yet", sandbox=sandbox.sandbox_id, error=str(error))
            self._owe(sandbox.sandbox_id)
        finally:
            self._going.discard(sandbox)
            self._removed(sandbox.sandbox_id)

    def _count(self) -> None:
        if len(self._ready) >= self._size:
            self._full.set()
        else:
            self._full.clear()
            self._wanted.set()
        self._changed()
