"""What the metrics of a real server say after requests of every kind."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.metrics import STAGES
from tests.api.conftest import BASH, KEY, WORKBENCH, Server, running_server


@pytest.fixture(scope="module")
def counted() -> Iterator[Server]:
    """A server of its own, with no pool: what it counts is of these tests."""
    with (
        TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=KEY, pool_size="0") as server,
    ):
        yield server


def number(client: httpx.Client, name: str, **labels: str) -> float:
    """One number of the metrics; 0 when it is not there."""
    text = client.get("/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"workbench_{name}" and sample.labels == labels:
                return sample.value
    return 0


def test_each_stage_of_a_request_is_measured_once(counted: Server) -> None:
    with counted.client() as client:
        before = {stage: number(client, "request_stage_seconds_count", stage=stage) for stage in STAGES}
        counted.run("1", session="stages")
        counted.bash("true", session="stages")
        after = {stage: number(client, "request_stage_seconds_count", stage=stage) for stage in STAGES}
        assert {stage: after[stage] - before[stage] for stage in STAGES} == dict.fromkeys(STAGES, 2)
        assert number(client, "request_stage_seconds_sum", stage="run") > 0
        assert number(client, "pool_events_total", event="miss") >= 1
        assert number(client, "sandboxes", state="live") >= 1


def test_each_error_that_a_client_sees_is_counted_by_its_slug(counted: Server) -> None:
    with counted.client() as client, counted.client("another-key") as stranger:
        path = f"/api/v3/tools/execute/{WORKBENCH}"
        assert client.post(path, json={"arguments": {}}).status_code == 422
        assert client.post(path, content=b"{").status_code == 400
        assert client.get("/nowhere").status_code == 404
        assert client.delete("/healthz").status_code == 405
        assert stranger.get("/v1/sessions").status_code == 401
        assert client.post(path, content=b" " * 40_000_000).status_code == 413
        for slug in (
            "Request_ValidationError",
            "Request_Malformed",
            "Resource_NotFound",
            "Method_NotAllowed",
            "APIKey_Invalid",
            "Request_TooLarge",
        ):
            assert number(client, "faults_total", border="http", slug=slug) == 1, slug


def test_a_word_that_a_client_made_up_is_no_label(counted: Server) -> None:
    with counted.client() as client:
        client.request("PROPFIND", "/healthz")
        client.get("/made/up")
        text = client.get("/metrics").text
    assert 'method="(other)"' in text
    assert "PROPFIND" not in text
    assert "made" not in text


def test_a_follower_counts_for_as_long_as_it_follows(counted: Server) -> None:
    with counted.client() as client:
        started = client.post("/v1/sessions/followed/executions", json={"command": "echo begun; sleep 100"}).json()
        path = f"/v1/executions/{started['execution_id']}"
        with counted.client() as follower, follower.stream("GET", f"{path}/events") as response:
            lines = response.iter_lines()  # held: the connection closes with it
            next(line for line in lines if "begun" in line)
            assert number(client, "live_followers") == 1
            assert number(client, "executions_running") == 1
        while number(client, "live_followers") > 0:
            pass
        assert client.post(f"{path}/interrupt").status_code == 202


def test_a_sandbox_that_is_lost_counts_with_the_fault_of_its_pipe(counted: Server) -> None:
    with counted.client() as client:
        assert counted.bash("kill -9 $PPID", session="lost")["data"]["execution"]["ending"] == "sandbox_gone"
        assert number(client, "executions_total", kind="bash", ending="sandbox_gone") == 1
        while number(client, "sandboxes_lost_total") == 0:
            pass
        assert number(client, "faults_total", border="pipe", slug="Pipe_Closed") == 1
    assert BASH not in counted.log.read_text()
