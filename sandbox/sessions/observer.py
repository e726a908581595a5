"""What the sessions tell whoever counts: metrics are made of this elsewhere."""

from typing import Protocol

from sandbox.pipe.messages import Ending


class Observer(Protocol):
    """Called on the event loop; must be quick and must not raise."""

    def execution_ended(self, kind: str, ending: Ending | None, seconds: float) -> None:
        """An execution ended, `seconds` after it was asked for. `ending` None: no sandbox could be had."""

    def sandbox_started(self, seconds: float, *, from_pool: bool) -> None:
        """A session got a sandbox `seconds` after it asked for one."""

    def sandbox_start_failed(self) -> None:
        """A sandbox did not start, for a session or for the pool."""

    def sandbox_gone(self) -> None:
        """A sandbox that belonged to a session disappeared."""

    def sandbox_rested(self, rest: str, seconds: float) -> None:
        """A session's idle sandbox was `paused`, `stopped` or `stopped_early`, to make room, which took so long."""

    def sandbox_expired(self) -> None:
        """A session's sandbox is removed because it was idle for too long."""

    def sandbox_woken(self, rest: str, seconds: float) -> None:
        """A sandbox that was `paused` or `stopped` can be used again, so long after it was asked for."""

    def pool_size(self, ready: int) -> None:
        """The pool now holds this many sandboxes."""

    def pool_event(self, event: str) -> None:
        """Something happened to the pool: one of the words that `Pool` names."""

    def stage(self, name: str, seconds: float) -> None:
        """A stage of a request took so long: resolve, sandbox, queue, run or pipe."""

    def fault(self, border: str, slug: str) -> None:
        """An `execution` could not run, or the `pipe` of a session's sandbox was lost, for the error of this slug."""


class NoObserver:
    """An observer that counts nothing."""

    def execution_ended(self, kind: str, ending: Ending | None, seconds: float) -> None:
        """Do nothing."""

    def sandbox_started(self, seconds: float, *, from_pool: bool) -> None:
        """Do nothing."""

    def sandbox_start_failed(self) -> None:
        """Do nothing."""

    def sandbox_gone(self) -> None:
        """Do nothing."""

    def sandbox_rested(self, rest: str, seconds: float) -> None:
        """Do nothing."""

    def sandbox_expired(self) -> None:
        """Do nothing."""

    def sandbox_woken(self, rest: str, seconds: float) -> None:
        """Do nothing."""

    def pool_size(self, ready: int) -> None:
        """Do nothing."""

    def pool_event(self, event: str) -> None:
        """Do nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """Do nothing."""

    def fault(self, border: str, slug: str) -> None:
        """Do nothing."""
