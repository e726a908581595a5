"""How much is measured, and in which order."""

from dataclasses import dataclass
from typing import Final

from bench.protocol import Probe, Request


@dataclass(frozen=True, slots=True)
class Plan:
    """How much: `each_round` is asked in every round, `once` after the first. No time is measured after `limit_s`."""

    rounds: int
    each_round: tuple[Request, ...]
    once: tuple[Request, ...]
    limit_s: float


FINDINGS: Final = (Probe.VARIABLE, Probe.EXCEPTION, Probe.TIMEOUT)

FULL: Final = Plan(
    rounds=6,
    each_round=(
        Request(Probe.PRINT, times=25, budget_s=3),
        Request(Probe.BASH, times=15, budget_s=2),
        Request(Probe.FIRST),
        Request(Probe.POOLED, times=2),
    ),
    once=(Request(Probe.FLOOD, times=3, budget_s=6), Request(Probe.AT_ONCE), Request(Probe.AT_ONCE)),
    limit_s=170,
)

QUICK: Final = Plan(
    rounds=2,
    each_round=(
        Request(Probe.PRINT, times=10, budget_s=1),
        Request(Probe.BASH, times=5, budget_s=1),
        Request(Probe.FIRST),
        Request(Probe.POOLED),
    ),
    once=(Request(Probe.FLOOD), Request(Probe.AT_ONCE)),
    limit_s=35,
)
