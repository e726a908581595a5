"""What a session is told about its sandbox when something of it was lost."""

from typing import Final

from sandbox.sessions.state import Serve

STOPPED: Final = "had been stopped"
STOPPED_EARLY: Final = "had been stopped early, while nobody used it, to make room for another one"


def ended(cause: str) -> str:
    """Say how a sandbox came to its end that ended by itself or from outside."""
    return f"had ended ({cause})"


def lost_before(serve: Serve, stopped: str | None = None) -> str | None:
    """Say what was lost before a sandbox was served; None when nothing was. `stopped`: how one came to its end."""
    if serve.recreated is not None:
        return f"The session has a new sandbox: {serve.recreated}. Variables and files of the old one are lost."
    if serve.restarted:
        how = f"The sandbox {stopped or STOPPED} and was started again."
        return f"{how} Variables and running programs are lost; files are kept."
    return None


def expired(after_s: float) -> str:
    """Say why a sandbox was removed that nobody used for so long."""
    return f"the old one was removed after {_span(after_s)} without use"


def _span(seconds: float) -> str:
    """`90 s`, `30 min`, `24 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
