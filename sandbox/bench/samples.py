"""Measured values and what is said of them. Pure but for the clock."""

import math
import time
from collections.abc import Callable, Sequence

Samples = list[float]
"""Milliseconds, or MB for memory."""


def timed(work: Callable[[], object]) -> float:
    """Run `work` once; milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def repeat(times: int, work: Callable[[], object]) -> Samples:
    """Run `work` several times; milliseconds of each."""
    return [timed(work) for _ in range(times)]


def quantile(samples: Sequence[float], share: float) -> float:
    """Give the smallest sample that at least `share` (0-1) of all are not above.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def p50(samples: Sequence[float]) -> float:
    """Give the median."""
    return quantile(samples, 0.5)


def p95(samples: Sequence[float]) -> float:
    """Give the value that 95 in 100 samples are not above."""
    return quantile(samples, 0.95)
