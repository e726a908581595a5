"""Metrics: their page of documentation, their names, their readings."""

from pathlib import Path

from sandbox.app import build
from sandbox.config import load_settings
from sandbox.metrics import STAGES, Metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def of_a_controller(folder: Path) -> Metrics:
    """The metrics of a whole controller that does not run."""
    return build(load_settings(data_dir=folder, runtime="process", unsafe=True, api_keys="key-of-a-client")).metrics


def test_the_documentation_lists_all_metrics_and_no_other(tmp_path: Path) -> None:
    assert PAGE.read_text() == of_a_controller(tmp_path).markdown()


def test_every_name_has_the_prefix_and_ends_in_its_unit(tmp_path: Path) -> None:
    for family in of_a_controller(tmp_path).registry.collect():
        assert family.name.startswith("workbench_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_every_stage_is_there_before_the_first_request() -> None:
    text = Metrics().text().decode()
    for stage in STAGES:
        assert f'workbench_request_stage_seconds_count{{stage="{stage}"}} 0.0' in text


def test_what_is_looked_up_is_looked_up_at_each_reading() -> None:
    metrics = Metrics()
    numbers = {"live": 1}
    metrics.watch_by("things", "Things.", "state", lambda: numbers)
    metrics.watch_count("bytes", "Bytes.", lambda: numbers["live"])
    assert 'workbench_things{state="live"} 1.0' in metrics.text().decode()
    numbers["live"] = 2
    text = metrics.text().decode()
    assert 'workbench_things{state="live"} 2.0' in text
    assert "workbench_bytes_total 2.0" in text
