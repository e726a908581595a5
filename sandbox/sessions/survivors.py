"""What an agent says of executions that outlived their controller: believed within bounds only."""

from typing import Final

import msgspec

from sandbox.pipe.frames import Survivor
from sandbox.pipe.peer import SURVIVORS_MAX
from sandbox.sessions import ids

SECONDS_MAX: Final = 86_400.0
"""Longest that a time limit, or a wait in the queue, is believed to be."""


def checked(said: tuple[Survivor, ...]) -> tuple[Survivor, ...]:
    """Give those with an id of ours, each once, with times that are possible."""
    ours = {survivor.id: survivor for survivor in said[:SURVIVORS_MAX] if ids.is_execution_id(survivor.id)}
    return tuple(
        msgspec.structs.replace(
            survivor,
            timeout_s=_bounded(survivor.timeout_s),
            queue_timeout_s=_bounded(survivor.queue_timeout_s),
            age_s=_bounded(survivor.age_s),
            running_s=None if survivor.running_s is None else _bounded(survivor.running_s),
        )
        for survivor in ours.values()
    )


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), SECONDS_MAX)
