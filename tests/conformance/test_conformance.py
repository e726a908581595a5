"""The shipped conformance list over every runtime, and the runner of that list."""

from collections.abc import AsyncIterator

import pytest

from sandbox.runtimes.base import Runtime
from sandbox.runtimes.conformance import CHECKS, KNOWN_FAILURES, CheckResult, Outcome, run_conformance
from sandbox.runtimes.conformance_bench import Bench, Check, ConformanceFailure, expect_equal
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.process import ProcessRuntime

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(600)
async def test_the_runtime_passes_the_conformance_list(runtime: Runtime, installation: str) -> None:
    results = await run_conformance(runtime, installation=installation)
    failed = [f"{result.name}: {result.detail}" for result in results if result.outcome is Outcome.FAILED]
    assert not failed, "\n".join(failed)
    assert len(results) == len(CHECKS)
    assert await runtime.list(installation) == []


def test_containers_have_no_known_failures() -> None:
    assert DockerRuntime.name not in KNOWN_FAILURES


def test_each_check_has_a_name_of_its_own() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)


def test_known_failures_name_checks_that_exist() -> None:
    names = {check.name for check in CHECKS}
    assert all(set(known) <= names for known in KNOWN_FAILURES.values())


def test_what_would_harm_this_machine_is_a_known_failure_without_isolation() -> None:
    harmful = {check.name for check in CHECKS if check.harmful}
    assert harmful
    assert harmful <= set(KNOWN_FAILURES["process"])


# --- the runner ---------------------------------------------------------------------------------------


@pytest.fixture
async def bare_runtime(anyio_backend: str) -> AsyncIterator[ProcessRuntime]:
    runtime = ProcessRuntime(unsafe=True)
    yield runtime
    await runtime.close()


async def passing(bench: Bench) -> None:
    expect_equal("number", 1, 1)


async def failing(bench: Bench) -> None:
    expect_equal("number", 1, 2)


async def never(bench: Bench) -> None:
    raise AssertionError("this must not run")


KNOWN = next(check.name for check in CHECKS if check.name in KNOWN_FAILURES["process"])


@pytest.mark.parametrize(
    ("check", "outcome", "detail"),
    [
        (Check("fine", passing), Outcome.PASSED, ""),
        (Check("not fine", failing), Outcome.FAILED, "ConformanceFailure: number: expected 1, got 2"),
        (Check(KNOWN, failing), Outcome.KNOWN_FAILURE, "number: expected 1, got 2"),
        (Check(KNOWN, passing), Outcome.UNEXPECTED_PASS, "known to fail, but passed"),
        (Check(KNOWN, never, harmful=True), Outcome.KNOWN_FAILURE, "not run"),
    ],
)
async def test_a_result_says_how_the_check_went(
    bare_runtime: ProcessRuntime, check: Check, outcome: Outcome, detail: str
) -> None:
    seen: list[CheckResult] = []
    results = await run_conformance(bare_runtime, installation="none", checks=[check], on_result=seen.append)
    assert seen == results
    (result,) = results
    assert (result.name, result.outcome) == (check.name, outcome)
    assert detail in result.detail


async def test_only_what_is_asked_for_runs(bare_runtime: ProcessRuntime) -> None:
    checks = [Check("one", passing), Check("two", never)]
    results = await run_conformance(
        bare_runtime, installation="none", checks=checks, only=lambda check: check.name == "one"
    )
    assert [result.name for result in results] == ["one"]


def test_a_long_value_is_cut_in_the_words_of_a_failure() -> None:
    with pytest.raises(ConformanceFailure) as caught:
        expect_equal("text", "", "x" * 10_000)
    assert len(str(caught.value)) < 1000
