"""How much went over all pipes together."""

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Bytes from and to agents, as the transport carries them; they only grow."""

    received: int = 0
    sent: int = 0
