"""Room for who waits: sandboxes that nobody uses are stopped, one for each room that is missing."""

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from sandbox.sessions.admission import Admission
from sandbox.sessions.background import Background
from sandbox.sessions.giving_way import Unused, choose
from sandbox.sessions.reaper import Clock

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S: Final = 1.0
"""While somebody waits: how often it is looked whether a sandbox has been idle for long enough by now."""


class GivesWay(Protocol):
    """Sandboxes that may be unused, and how one of them gives way."""

    @property
    def clock(self) -> Clock:
        """The clock of their idle time."""

    def unused(self) -> list[Unused]:
        """Give those that may be stopped now."""

    async def give_way(self, session_id: str) -> None:
        """Stop a session's sandbox if it is still unused. Comes back when that is over, whatever came of it."""


class MakingRoom:
    """Called at each look at the queue for room. Who was chosen once is not chosen again while it gives way.

    `spare`: the ready sandboxes of the pools; `give_up` removes one of them; `coming`: the ids of those whose room
    comes without anybody's harm. What turns out to be in use after all is replaced by the next choice.
    """

    def __init__(
        self,
        admission: Admission,
        sessions: GivesWay,
        background: Background,
        *,
        spare: Callable[[], list[Unused]],
        give_up: Callable[[str], None],
        coming: Callable[[], set[str]],
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._background = background
        self._spare = spare
        self._give_up = give_up
        self._coming = coming
        self._going: set[str] = set()
        self._timed = False

    def make(self) -> None:
        """Choose who gives way to those who wait, and begin to stop these."""
        admission = self._admission
        self._going &= admission.sandboxes.keys()
        away = self._going | self._coming()
        held = {sandbox_id: room for sandbox_id, room in admission.sandboxes.items() if sandbox_id not in away}
        chosen = choose(admission.waits(), held, [*self._spare(), *self._sessions.unused()], admission.fits)
        # All of them before the first one goes: each that goes is a look at the queue.
        self._going.update(one.sandbox_id for one in chosen)
        for one in chosen:
            if one.session_id is None:
                self._give_up(one.sandbox_id)
            else:
                log.info("a sandbox gives way", session=one.session_id, sandbox=one.sandbox_id, idle_s=one.idle_s)
                work = self._stop(one.sandbox_id, one.session_id)
                self._background.spawn(work, f"stop of {one.sandbox_id} to make room", apart=True)
        self._look_again()

    async def _stop(self, sandbox_id: str, session_id: str) -> None:
        try:
            await self._sessions.give_way(session_id)
        finally:
            self._going.discard(sandbox_id)
            self._admission.look()

    def _look_again(self) -> None:
        if not self._timed:
            self._timed = True
            clock = self._sessions.clock
            clock.call_at(clock.time() + _LOOK_AGAIN_S, self._timed_look)

    def _timed_look(self) -> None:
        self._timed = False
        self._admission.look()
