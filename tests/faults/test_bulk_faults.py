"""Thousands of helper calls of one cell: progress, interrupts, an upstream that fails, a controller that is killed."""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox.bench.process_memory import peak_mb, resident_mb
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from tests.support.bulk_backend import SLUG, BulkBackend
from tests.support.controller import Controller, ServerEvent
from tests.support.faults import ending, fault, python, usable
from tests.support.faulty_server import in_thread

pytestmark = [pytest.mark.docker, pytest.mark.timeout(150)]

THREADS: Final = 32
GROWTH_MB: Final = 24

PREPARED: Final = f"""
from concurrent.futures import ThreadPoolExecutor, as_completed
import collections, json
def one(n):
    result, error = run_composio_tool({SLUG!r}, {{"n": n}})
    return n, error if error or result["data"] == {{"n": n}} else f"another answer: {{result}}"
def failures(pairs):
    return {{str(n): error for n, error in pairs if error}}
"""
MAP: Final = "with ThreadPoolExecutor(32) as ex:\n    print(json.dumps(failures(ex.map(one, range(CALLS)))))"
COMPLETED: Final = (
    "with ThreadPoolExecutor(32) as ex:\n    jobs = [ex.submit(one, n) for n in range(CALLS)]\n"
    "    print(json.dumps(failures(job.result() for job in as_completed(jobs))))"
)
RESULTS: Final = (
    "ex = ThreadPoolExecutor(32)\njobs = [ex.submit(one, n) for n in range(CALLS)]\n"
    "print(json.dumps(failures(job.result() for job in jobs)))"
)
PROGRESS: Final = (
    "from tqdm import tqdm\nwith ThreadPoolExecutor(32) as ex:\n    jobs = [ex.submit(one, n) for n in range(CALLS)]\n"
    "    for job in tqdm(as_completed(jobs), total=CALLS):\n        job.result()"
)


@dataclass
class Bulk:
    """A controller, the backend that its calls go to, and a session."""

    server: Controller
    backend: BulkBackend
    session: str

    def code(self, form: str, calls: int) -> str:
        return PREPARED + form.replace("CALLS", str(calls))

    def begin(self, form: str, calls: int) -> str:
        return self.server.begin(self.session, code=self.code(form, calls), timeout=120)

    def failures(self, form: str, calls: int) -> dict[int, str]:
        """Make the calls; the errors by number."""
        answer = python(self.server, self.session, self.code(form, calls), timeout=120)
        assert answer["error"] is None, answer
        return _failures(answer["data"]["stdout"])

    def ended(self, execution: str) -> dict[str, Any]:
        """Wait for the end of an execution; its answer."""
        with self.server.events(execution) as events:
            last = list(events)[-1]
        assert last.name == "ended"
        return last.data

    def agent(self) -> int:
        """Process id of the agent of the only sandbox, on the engine's machine."""
        with make_client(self.server.engine, timeout_s=60) as client:
            return int(client.inspect_container(next(iter(self.server.containers())))["State"]["Pid"])


def _failures(stdout: str) -> dict[int, str]:
    return {int(number): error for number, error in json.loads(stdout).items()}


@pytest.fixture(scope="module")
def place(docker_engine: EngineAddress, sandbox_image: str) -> Iterator[tuple[Controller, BulkBackend]]:
    backend = BulkBackend()
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        in_thread(backend),
    ):
        server = Controller(Path(folder), docker_engine, sandbox_image, **backend.settings())
        try:
            server.start()
            yield server, backend
        finally:
            server.close()


@pytest.fixture
def bulk(place: tuple[Controller, BulkBackend]) -> Iterator[Bulk]:
    """One sandbox for all tests: each leaves it usable."""
    server, backend = place
    backend.forget()
    yield Bulk(server, backend, "bulk faults")
    usable(server, "bulk faults")


def output(event: ServerEvent) -> str:
    """Give the text of an event of output."""
    return str(event.data.get("text", "")) if event.name == "output" else ""


@fault("H10")
def test_the_progress_of_calls_in_bulk_is_seen_while_they_run(bulk: Bulk) -> None:
    bulk.backend.hold_after = 600
    execution = bulk.begin(PROGRESS, 1500)
    bulk.backend.wait_held(THREADS)
    with bulk.server.events(execution) as events:
        seen = next(found for event in events if (found := re.search(r"\b(\d+)/1500", output(event))))
        assert int(seen[1]) < 1500
        bulk.backend.release()
        rest = list(events)
    assert any("1500/1500" in output(event) for event in rest)
    assert rest[-1].name == "ended"
    assert set(bulk.backend.ledger.values()) == {1}
    assert len(bulk.backend.ledger) == 1500


@fault("H11")
@pytest.mark.parametrize("form", [MAP, COMPLETED, RESULTS], ids=["map", "as_completed", "results"])
def test_an_interrupt_of_calls_in_bulk_leaves_no_call_running(bulk: Bulk, form: str) -> None:
    bulk.backend.silent_after = 400
    execution = bulk.begin(form, 20_000)
    bulk.backend.wait_held(THREADS)
    with bulk.server.client() as client:
        assert client.post(f"/v1/executions/{execution}/interrupt").status_code == 202
    assert ending(bulk.ended(execution)) == ("interrupted", "interrupted", "kept", "kept")
    bulk.backend.wait_abandoned(THREADS)
    came = len(bulk.backend.seen)
    bulk.backend.silent_after = None
    assert bulk.failures(MAP.replace("range(CALLS)", "[20_001]"), 1) == {}
    assert len(bulk.backend.seen) == came + 1
    assert set(bulk.backend.ledger.values()) == {1}


@fault("H12")
def test_of_calls_in_bulk_to_a_failing_upstream_all_end_and_none_is_made_twice(bulk: Bulk) -> None:
    calls = 1500
    bulk.backend.limited = {n: (None, "1", "0")[n % 3] for n in range(7, calls, 11)}
    bulk.backend.dropped = set(range(5, calls, 37))
    bulk.backend.cut_heads = 41
    limited = set(bulk.backend.limited)
    failed = bulk.failures(COMPLETED, calls)
    made = bulk.backend.ledger
    cut = set(range(calls)) - made.keys()
    lost = bulk.backend.dropped & made.keys()
    assert set(made.values()) == {1}
    assert failed.keys() == cut | lost
    assert 0 < len(cut) <= bulk.backend.heads_cut
    assert limited - bulk.backend.limited.keys() - cut - lost
    assert all("broke the connection" in error for error in failed.values())


@fault("H13")
def test_a_controller_killed_in_the_middle_of_calls_in_bulk_makes_none_twice(bulk: Bulk) -> None:
    bulk.backend.hold_after = 200
    execution = bulk.begin(COMPLETED, 600)
    bulk.backend.wait_held(THREADS)
    bulk.server.kill()
    bulk.backend.release()
    bulk.server.start()
    answer = bulk.ended(execution)
    assert ending(answer)[0] == "completed", answer
    failed = _failures(answer["data"]["stdout"])
    assert len(failed) <= THREADS
    assert all("may have been done" in error for error in failed.values())
    assert set(bulk.backend.ledger.values()) == {1}
    assert set(range(600)) - set(bulk.backend.ledger) <= failed.keys()


@fault("H14")
def test_calls_in_bulk_do_not_grow_the_memory_of_controller_and_agent(bulk: Bulk) -> None:
    assert bulk.failures(MAP, 500) == {}
    pids = bulk.server.pid, bulk.agent()
    before = [resident_mb(pid) for pid in pids]
    bulk.backend.forget()
    assert bulk.failures(MAP, 2000) == {}
    grown = [(peak_mb(pid) or 0) - (held or 0) for pid, held in zip(pids, before, strict=True)]
    assert max(grown) < GROWTH_MB, grown
    assert len(bulk.backend.ledger) == 2000
