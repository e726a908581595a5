"""What is counted and measured, in one registry of its own. Labels come from small fixed sets only."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Metrics:
    """All metrics of one controller. Methods are cheap enough for every request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "workbench_http_requests", "Requests answered.", ("route", "method", "status"), registry=self.registry
        )
        self._request_seconds = Histogram(
            "workbench_http_request_seconds",
            "Time to answer a request.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._executions = Counter(
            "workbench_executions", "Executions by how they ended.", ("kind", "ending"), registry=self.registry
        )
        self._stage_seconds = Histogram(
            "workbench_stage_seconds",
            "Time of a stage: python and bash executions from request to end, claim and boot of a sandbox.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._sandboxes = Counter(
            "workbench_sandbox_events", "What happened to sandboxes.", ("event",), registry=self.registry
        )
        self._pool = Gauge(
            "workbench_pool_ready", "Booted sandboxes that belong to no session yet.", registry=self.registry
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the path's template, never the path."""
        self._requests.labels(route, method, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    # --- what the sessions tell: see `sandbox.sessions.observer` --------------------------------------

    def execution_ended(self, kind: str, ending: str | None, seconds: float) -> None:
        """Count one ended execution; `ending` None: no sandbox could be had."""
        self._executions.labels(kind, ending or "no_sandbox").inc()
        self._stage_seconds.labels(kind).observe(seconds)

    def sandbox_started(self, seconds: float, *, from_pool: bool) -> None:
        """Record how long a session waited for its sandbox."""
        self._stage_seconds.labels("claim" if from_pool else "boot").observe(seconds)
        self._sandboxes.labels("claimed" if from_pool else "booted").inc()

    def sandbox_start_failed(self) -> None:
        """Count a sandbox that did not start."""
        self._sandboxes.labels("start_failed").inc()

    def sandbox_gone(self) -> None:
        """Count a session's sandbox that disappeared."""
        self._sandboxes.labels("gone").inc()

    def pool_size(self, ready: int) -> None:
        """Note how many sandboxes the pool holds."""
        self._pool.set(ready)

    # --- reading ---------------------------------------------------------------------------------------

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Show `value()` as the gauge `workbench_<name>` whenever metrics are read."""
        Gauge(f"workbench_{name}", words, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text form."""
        return generate_latest(self.registry)
