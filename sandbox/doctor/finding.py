"""What a check of the doctor says."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """`known`: it works, with a limit that one should know about."""

    OK = "ok"
    FAILED = "failed"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `fix`: what to do about it."""

    name: str
    outcome: Outcome
    words: str = ""
    fix: str = ""


Show = Callable[[Finding], None]
Begin = Callable[[str], None]
"""Told in words what is looked at now."""
