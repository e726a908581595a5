"""What every runtime must do, as one list of named checks over real sandboxes. Shipped: `workbench doctor` runs it.

A check's name is a sentence of behaviour. A driver that cannot keep one names it in KNOWN_FAILURES with the reason.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sandbox.errors import WorkbenchError
from sandbox.runtimes import (
    conformance_execution,
    conformance_files,
    conformance_isolation,
    conformance_life,
    conformance_rest,
)
from sandbox.runtimes.base import Runtime
from sandbox.runtimes.conformance_bench import Bench, Check, ConformanceFailure

CHECKS: Final[tuple[Check, ...]] = (
    *conformance_life.CHECKS,
    *conformance_rest.CHECKS,
    *conformance_execution.CHECKS,
    *conformance_files.CHECKS,
    *conformance_isolation.CHECKS,
)

KNOWN_FAILURES: Final[Mapping[str, Mapping[str, str]]] = {
    "process": {
        check.name: "a child process has no isolation; this runtime is for development only"
        for check in conformance_isolation.CHECKS
    }
}
"""For each driver by name: the checks that it is known to fail, with the reason."""


class Outcome(StrEnum):
    """How a check went. KNOWN_FAILURE is fine; UNEXPECTED_PASS asks to take the check off KNOWN_FAILURES."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN_FAILURE = "known_failure"
    UNEXPECTED_PASS = "unexpected_pass"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check went. `detail`: what was expected and what came, or the reason; empty when it passed."""

    name: str
    outcome: Outcome
    detail: str
    seconds: float


async def run_conformance(
    runtime: Runtime,
    *,
    installation: str,
    only: Callable[[Check], bool] | None = None,
    on_result: Callable[[CheckResult], None] | None = None,
    checks: Sequence[Check] = CHECKS,
) -> list[CheckResult]:
    """Run the checks one after the other and say how each went; sandboxes made for it are removed.

    `installation`: a name that no running controller uses. `only`: which checks to run. `on_result`: called
    after each.

    Raises:
        EngineUnavailable, ImageMissing: from `Runtime.check`, before anything runs.
    """
    await runtime.check()
    results = []
    async with Bench(runtime, installation) as bench:
        for check in checks:
            if only is None or only(check):
                result = await _run(bench, check)
                results.append(result)
                if on_result is not None:
                    on_result(result)
    return results


async def _run(bench: Bench, check: Check) -> CheckResult:
    reason = KNOWN_FAILURES.get(bench.runtime.name, {}).get(check.name)
    if reason is not None and check.harmful:
        return CheckResult(check.name, Outcome.KNOWN_FAILURE, f"not run: {reason}", 0.0)
    started = time.perf_counter()
    failure: str | None = None
    try:
        await check.run(bench)
    except (ConformanceFailure, WorkbenchError) as error:
        failure = f"{type(error).__name__}: {error}"
        # What a failed check leaves behind must not fail the next one.
        await bench.discard_shared()
    seconds = time.perf_counter() - started
    if reason is None:
        return CheckResult(check.name, Outcome.FAILED if failure else Outcome.PASSED, failure or "", seconds)
    if failure is None:
        return CheckResult(check.name, Outcome.UNEXPECTED_PASS, f"known to fail, but passed: {reason}", seconds)
    return CheckResult(check.name, Outcome.KNOWN_FAILURE, f"{reason} ({failure})", seconds)
