"""What the gateway tells whoever counts: metrics are made of this elsewhere."""

from typing import Protocol


class GatewayObserver(Protocol):
    """Called on the event loop; must be quick and must not raise."""

    def helper_called(self, helper: str, outcome: str, seconds: float) -> None:
        """A call of a known helper ended: `ok`, `failed`, `refused`, `cancelled` or the slug of its error."""

    def helper_retried(self) -> None:
        """A call is sent to its upstream again."""
