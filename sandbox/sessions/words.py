"""What a session is told about its sandbox when something of it was lost."""

from sandbox.sessions.state import Serve


def lost_before(serve: Serve, ended: str | None = None) -> str | None:
    """Say what was lost before a sandbox was served; None when nothing was. `ended`: why one had to be restarted."""
    if serve.recreated is not None:
        return f"The session has a new sandbox: {serve.recreated}. Variables and files of the old one are lost."
    if serve.restarted:
        how = f"had ended ({ended})" if ended is not None else "had been stopped"
        return f"The sandbox {how} and was started again. Variables and running programs are lost; files are kept."
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
