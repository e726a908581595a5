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

    def pool_size(self, ready: int) -> None:
        """The pool now holds this many sandboxes."""


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

    def pool_size(self, ready: int) -> None:
        """Do nothing."""
