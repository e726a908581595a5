"""How helper calls ended, as the controller keeps it for an agent that has not heard it."""

import msgspec

from sandbox.pipe.frames import HelperEnd
from sandbox.sessions.helper_endings import HelperEndings


def ending(number: int, size: int = 10) -> HelperEnd:
    return HelperEnd(f"h{number}", msgspec.Raw(b'"' + b"x" * (size - 2) + b'"'))


def test_endings_are_kept_until_they_were_heard_and_not_longer() -> None:
    endings = HelperEndings()
    for number in range(10):
        endings.add(ending(number))
    endings.heard("h6")
    endings.heard("unknown")
    assert [number for number in range(10) if endings.get(f"h{number}")] == [7, 8, 9]


def test_of_endings_over_the_bounds_the_oldest_are_emptied_and_then_forgotten() -> None:
    endings = HelperEndings(kept=4, size=2500)
    for number in range(4):
        endings.add(ending(number, 1000))
    kept = [endings.get(f"h{number}") for number in range(4)]
    assert [end is not None and "lost" in end.error for end in kept] == [True, True, False, False]
    endings.add(ending(4))
    assert endings.get("h0") is None
    assert len(endings) == 4
