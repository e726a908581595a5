"""Where sessions' sandboxes come from: claimed from the pool of their size, else started, within the bounds."""

from collections.abc import Awaitable, Callable
from functools import partial

from sandbox.runtimes.base import SIZES, SandboxSpec, Size
from sandbox.sessions import ids
from sandbox.sessions.admission import Admission, Bounds
from sandbox.sessions.background import Background
from sandbox.sessions.debts import Owe
from sandbox.sessions.giving_way import Unused
from sandbox.sessions.making_room import GivesWay, MakingRoom
from sandbox.sessions.memory import MemoryBound
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.pool import Ask, Pool
from sandbox.sessions.quiet import Quiet
from sandbox.sessions.sandbox import LiveSandbox

POOL_SIZE_NAME = "standard"

Make = Callable[[SandboxSpec], Awaitable[LiveSandbox]]


class Supply:
    """One pool for each size that has one, and the admission that all starts pass. `make` boots one sandbox.

    `made_with` names the image that sandboxes are made from now. `memory`: bytes that the engine's machine has.
    """

    def __init__(
        self,
        make: Make,
        installation: str,
        background: Background,
        observer: Observer,
        limits: SessionLimits,
        *,
        owe: Owe,
        made_with: Ask,
        memory: Callable[[], Awaitable[int]],
    ) -> None:
        self._make = make
        self._installation = installation
        self._observer = observer
        self._background = background
        self._making_room: MakingRoom | None = None
        self._booting: dict[str, Pool] = {}
        self.quiet = Quiet(limits.pool_quiet_s)
        self.admission = Admission(
            Bounds(
                limits.max_sandboxes,
                limits.starts_at_once,
                limits.admission_queue,
                limits.admission_wait_s,
            ),
            MemoryBound(limits.max_memory_bytes, memory, background),
            self._make_room,
        )
        self.pools = {
            name: Pool(
                partial(self._spare, SIZES[name]),
                background,
                observer,
                owe=owe,
                size=size,
                quiet=self.quiet,
                limits=limits,
                made_with=made_with,
                changed=self._count,
                removed=self.admission.leave,
            )
            for name, size in {POOL_SIZE_NAME: limits.pool_size, **limits.pool_sizes}.items()
        }

    def may_stop(self, sessions: GivesWay) -> None:
        """Let these give way to who waits for room."""
        self._making_room = MakingRoom(
            self.admission,
            sessions,
            self._background,
            spare=self._spares,
            give_up=self._give_up,
            coming=self._coming,
        )

    def start(self) -> None:
        """Begin to fill the pools."""
        for pool in self.pools.values():
            pool.start()

    async def aclose(self) -> None:
        """Stop refilling and remove what belongs to no session."""
        for pool in self.pools.values():
            await pool.aclose()

    async def give(self, size_name: str, owner: str) -> tuple[LiveSandbox, bool]:
        """Give a sandbox, and whether it came from a pool.

        Raises:
            Overloaded: there is no room for it, and came none in time.
            RuntimeFault: it could not be started, or there is not that much memory.
        """
        pool = self.pools.get(size_name)
        if pool is not None:
            sandbox = pool.claim() or await pool.next_one()
            if sandbox is not None:
                self.admission.own(sandbox.sandbox_id, owner)
                return sandbox, True
        size = SIZES[size_name]
        sandbox_id = ids.sandbox_id()
        await self.admission.enter(sandbox_id, size.memory_bytes, owner)
        return await self._start(sandbox_id, size), False

    async def _spare(self, size: Size, begun: Callable[[], None]) -> LiveSandbox:
        """Start one for a pool, when nobody else wants to start one."""
        sandbox_id = ids.sandbox_id()
        await self.admission.enter_last(sandbox_id, size.memory_bytes)
        begun()
        self._booting[sandbox_id] = self.pools[size.name]
        try:
            return await self._start(sandbox_id, size)
        finally:
            del self._booting[sandbox_id]

    async def _start(self, sandbox_id: str, size: Size) -> LiveSandbox:
        made: LiveSandbox | None = None
        try:
            made = await self._make(SandboxSpec(sandbox_id, self._installation, size))
        finally:
            self.admission.started(sandbox_id)
            if made is None:
                self.admission.leave(sandbox_id)
        return made

    def _make_room(self) -> None:
        if self._making_room is not None:
            self._making_room.make()

    def _spares(self) -> list[Unused]:
        return [Unused(sandbox.sandbox_id) for pool in self.pools.values() for sandbox in pool.ready]

    def _give_up(self, sandbox_id: str) -> None:
        for pool in self.pools.values():
            for sandbox in pool.ready:
                if sandbox.sandbox_id == sandbox_id:
                    pool.give_up(sandbox)

    def _coming(self) -> set[str]:
        """Those that are removed, and those that can be given up as soon as they have booted."""
        going = {sandbox_id for pool in self.pools.values() for sandbox_id in pool.going}
        return going | {sandbox_id for sandbox_id, pool in self._booting.items() if pool.booting}

    def _count(self) -> None:
        self._observer.pool_size(sum(len(pool) for pool in self.pools.values()))
        self.admission.look()
