"""From samples to rows: limits of what is to be small and of what is to be large."""

import pytest

from sandbox.bench.report import Probe, compose


@pytest.mark.parametrize(("calls_s", "met"), [(799.0, False), (800.0, True), (1500.0, True)])
def test_where_more_is_better_a_row_is_met_from_its_least_figure_on(calls_s: float, met: bool) -> None:
    samples = {Probe.BULK: [calls_s], Probe.RAW_BULK: [4000.0]}
    (row,) = compose(samples, runtime="docker", rounds=1, notes=()).rows
    assert (row.met, row.ratio) == (met, calls_s / 4000)


@pytest.mark.parametrize(("milliseconds", "met"), [(1.25, True), (1.3, False)])
def test_where_less_is_better_a_row_is_met_up_to_its_ratio(milliseconds: float, met: bool) -> None:
    samples = {Probe.ANSWER: [milliseconds], Probe.RAW_ANSWER: [1.0]}
    (row,) = [
        row for row in compose(samples, runtime="docker", rounds=1, notes=()).rows if not row.what.endswith("p95")
    ]
    assert row.met is met


def test_what_was_not_measured_has_no_row() -> None:
    assert compose({}, runtime="process", rounds=1, notes=()).rows == ()
