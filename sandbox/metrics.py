"""What is counted and measured, in one registry of its own. Labels come from small fixed sets only.

Names begin with `workbench_` and end in their unit. What has a number of its own (open files, sandboxes by state) is
looked up when metrics are read; all else is counted as it happens, at under two microseconds each.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

STAGES: Final = ("read", "resolve", "sandbox", "queue", "run", "pipe", "present", "encode")
"""Of a request, in their order."""

_STAGE_WORDS: Final = (
    "Time of a stage of a request: read (routing, API key, body, JSON), resolve (which session), sandbox (claim, start "
    "or wake), queue (behind earlier executions of the sandbox), run (as the agent counts it), pipe (the rest of the "
    "call to the agent), present (compose the answer), encode (JSON)."
)

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_FINE_SECONDS: Final = (0.00005, 0.0001, 0.00025, 0.0005, *_SECONDS)


class Metrics:
    """All metrics of one controller. Methods are cheap enough for every request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        count, measure = self._counter, self._histogram
        self._requests = _Timed(
            count("http_requests", "Requests answered; status 0: the client left before.", "route", "method", "status"),
            measure("http_request_seconds", "Time to answer a request.", "route"),
        )
        stages = measure("request_stage_seconds", _STAGE_WORDS, "stage", buckets=_FINE_SECONDS)
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._faults = count(
            "faults",
            "Errors at a border: an HTTP answer, an execution that could not run, a pipe that was lost.",
            "border",
            "slug",
        )
        self._executions = _Timed(
            count("executions", "Executions by how they ended; no_sandbox: none could be had.", "kind", "ending"),
            measure("execution_seconds", "Time of an execution, from request to end.", "kind"),
        )
        self._followers = self._gauge("live_followers", "Clients that follow an execution live now.")
        self._starts = count("sandbox_starts", "Sandboxes given to sessions, from the pool or by a boot.", "source")
        self._start_seconds = measure("sandbox_start_seconds", "Time that a session waited for its sandbox.", "source")
        self._starts_failed = count("sandbox_starts_failed", "Sandboxes that did not start.")
        self._lost = count("sandboxes_lost", "Sandboxes of sessions that disappeared.")
        self._rests = count(
            "sandbox_rests",
            "Idle sandboxes that were paused, stopped, stopped_early (to make room) or removed.",
            "rest",
        )
        self._rest_seconds = measure("sandbox_rest_seconds", "Time to pause or stop an idle sandbox.", "rest")
        self._wakes = count("sandbox_wakes", "Sandboxes at rest that were woken by a request.", "rest")
        self._wake_seconds = measure("sandbox_wake_seconds", "Time to wake a sandbox at rest.", "rest")
        self._pool_ready = self._gauge("pool_ready", "Booted sandboxes that belong to no session yet.")
        self._pool_events = count(
            "pool_events",
            "Claims (hit, miss), refills (refilled, refill_failed), ready ones that were lost, replaced or given_up.",
            "event",
        )
        self._engine_calls = _Timed(
            count("engine_calls", "Calls to the engine; outcome: ok, or the slug.", "operation", "outcome"),
            measure("engine_call_seconds", "Time of a call to the engine.", "operation"),
        )
        self._helpers = _Timed(
            count(
                "helper_calls",
                "Helper calls by how they ended: ok, failed, refused, cancelled, or a slug.",
                "helper",
                "outcome",
            ),
            measure("helper_call_seconds", "Time of a helper call in the gateway.", "helper"),
        )
        self._helper_retries = count("helper_retries", "Helper calls that were sent to their upstream again.")
        self._watch_process()

    # --- HTTP ------------------------------------------------------------------------------------------

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the path's template, never the path."""
        self._requests.ended(seconds, route, method, str(status))

    def stage(self, name: str, seconds: float) -> None:
        """Record one of STAGES."""
        self._stages[name].observe(seconds)

    def fault(self, border: str, slug: str) -> None:
        """Count an error at a border: `http`, `execution` or `pipe`."""
        self._faults.labels(border, slug).inc()

    def followers(self, change: int) -> None:
        """Note that a client began (1) or stopped (-1) to follow an execution."""
        self._followers.inc(change)

    # --- what the sessions tell: see `sandbox.sessions.observer` --------------------------------------

    def execution_ended(self, kind: str, ending: str | None, seconds: float) -> None:
        """Count one ended execution; `ending` None: no sandbox could be had."""
        self._executions.ended(seconds, kind, ending or "no_sandbox")

    def sandbox_started(self, seconds: float, *, from_pool: bool) -> None:
        """Record how long a session waited for its sandbox."""
        source = "pool" if from_pool else "boot"
        self._starts.labels(source).inc()
        self._start_seconds.labels(source).observe(seconds)

    def sandbox_start_failed(self) -> None:
        """Count a sandbox that did not start."""
        self._starts_failed.inc()

    def sandbox_gone(self) -> None:
        """Count a session's sandbox that disappeared."""
        self._lost.inc()

    def sandbox_rested(self, rest: str, seconds: float) -> None:
        """Count an idle sandbox that was put to rest, and record how long that took."""
        self._rests.labels(rest).inc()
        self._rest_seconds.labels(rest).observe(seconds)

    def sandbox_expired(self) -> None:
        """Count an idle sandbox that was removed."""
        self._rests.labels("removed").inc()

    def sandbox_woken(self, rest: str, seconds: float) -> None:
        """Count a sandbox that was woken, and record how long its session waited."""
        self._wakes.labels(rest).inc()
        self._wake_seconds.labels(rest).observe(seconds)

    def pool_size(self, ready: int) -> None:
        """Note how many sandboxes the pool holds."""
        self._pool_ready.set(ready)

    def pool_event(self, event: str) -> None:
        """Count what happened to the pool; `event` is a word of `sandbox.sessions.pool`."""
        self._pool_events.labels(event).inc()

    # --- what the runtimes tell --------------------------------------------------------------------------

    def engine_call(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one call to the engine."""
        self._engine_calls.ended(seconds, operation, outcome)

    # --- what the gateway tells: see `sandbox.gateway.observer` ------------------------------------------

    def helper_called(self, helper: str, outcome: str, seconds: float) -> None:
        """Count one helper call that ended."""
        self._helpers.ended(seconds, helper, outcome)

    def helper_retried(self) -> None:
        """Count a helper call that is sent again."""
        self._helper_retries.inc()

    # --- what is looked up when metrics are read ---------------------------------------------------------

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Show `value()` as the gauge `workbench_<name>`."""
        self._gauge(name, words).set_function(value)

    def watch_by(self, name: str, words: str, label: str, values: Callable[[], Mapping[str, int]]) -> None:
        """Show each of `values()` as the gauge `workbench_<name>` with its key as the label."""

        def read() -> Metric:
            family = GaugeMetricFamily(f"workbench_{name}", words, labels=[label])
            for key, value in sorted(values().items()):
                family.add_metric([key], value)
            return family

        self.registry.register(_Lookup(read))

    def watch_count(self, name: str, words: str, value: Callable[[], int]) -> None:
        """Show `value()`, which only grows, as the counter `workbench_<name>_total`."""
        self.registry.register(_Lookup(lambda: CounterMetricFamily(f"workbench_{name}", words, value=value())))

    # --- reading ---------------------------------------------------------------------------------------

    def text(self) -> bytes:
        """All metrics in Prometheus' text form."""
        return generate_latest(self.registry)

    def markdown(self) -> str:
        """All metrics as the page `docs/metrics.md`."""
        rows = []
        for family in self.registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append(f"| `{name}` | {family.type} | {family.documentation} |\n")
        return _PAGE + "".join(sorted(rows))

    # --- inside ----------------------------------------------------------------------------------------

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"workbench_{name}", _with(words, labels), labels, registry=self.registry)

    def _gauge(self, name: str, words: str) -> Gauge:
        return Gauge(f"workbench_{name}", words, registry=self.registry)

    def _histogram(self, name: str, words: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(f"workbench_{name}", _with(words, labels), labels, registry=self.registry, buckets=buckets)

    def _watch_process(self) -> None:
        """Memory, processor time and open files of this process (Linux), and what may leak beside them."""
        ProcessCollector(namespace="workbench", registry=self.registry)
        self.watch("process_threads", "Threads of Python.", threading.active_count)
        self.watch("process_children", "Processes that this one started and has not reaped.", _children)
        self.watch("process_tasks", "Tasks of asyncio.", _tasks)


_PAGE: Final = """# Metrics

`GET /metrics`, in Prometheus' text form. From this machine it needs no key. Histograms have the usual `_bucket`, `_sum`
and `_count`. No label holds a session, a key or anything else that a client or a sandbox made up. Timings of one
execution, with ids, are in the log. Numbers of the process itself are there on Linux.

| metric | type | meaning |
|---|---|---|
"""


class _Timed:
    """A counter, and a histogram by the first label of it. To find what belongs to labels costs more than to count."""

    def __init__(self, counter: Counter, histogram: Histogram) -> None:
        self._counter = counter
        self._histogram = histogram
        self._found: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def ended(self, seconds: float, *labels: str) -> None:
        """Count one thing that ended, and how long it took."""
        found = self._found.get(labels)
        if found is None:
            found = self._found[labels] = self._counter.labels(*labels), self._histogram.labels(labels[0])
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)


class _Lookup(Collector):
    """One metric that is made when metrics are read."""

    def __init__(self, read: Callable[[], Metric]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        yield self._read()


def _with(words: str, labels: tuple[str, ...]) -> str:
    return f"{words} By {', '.join(labels)}." if labels else words


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # read from outside the event loop
        return 0


def _children() -> int:
    return sum(len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children"))
