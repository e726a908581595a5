"""What sessions are made of, put together: nothing runs yet."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox.errors import WorkbenchError
from sandbox.runtimes.base import Runtime, SandboxSpec
from sandbox.sessions.background import Background
from sandbox.sessions.boot import boot
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.claims import Claims
from sandbox.sessions.debts import Debts
from sandbox.sessions.executions import Executions
from sandbox.sessions.helper_desk import HelperDesk
from sandbox.sessions.helper_port import AnswersHelpers
from sandbox.sessions.observer import Observer
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.places import Places
from sandbox.sessions.reaper import Clock
from sandbox.sessions.resizing import Resizing
from sandbox.sessions.rest import Rests
from sandbox.sessions.runs import Runs
from sandbox.sessions.sandbox import LiveSandbox
from sandbox.sessions.store import Retention, Store
from sandbox.sessions.supply import Supply
from sandbox.sessions.sweep import Sweep
from sandbox.sessions.takeover import TakenOver, Takeover


@dataclass(frozen=True, slots=True)
class Given:
    """What they are made with. See `SessionManager`."""

    runtime: Runtime
    store: Store
    installation: str
    limits: SessionLimits
    observer: Observer
    clock: Callable[[], datetime]
    timers: Clock | None
    helpers: AnswersHelpers | None


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts, in the order in which a request goes through them; last, what belongs to none."""

    catalog: Catalog
    runs: Runs
    places: Places
    supply: Supply
    executions: Executions
    takeover: Takeover
    sweep: Sweep
    background: Background


def assemble(given: Given) -> Parts:
    """Put the parts together."""
    store, clock, limits, observer = given.store, given.clock, given.limits, given.observer
    background = Background()
    debts = Debts(given.runtime, given.installation, background, deadline_s=limits.call_deadline_s)
    catalog = Catalog(store, background, clock, cached=limits.sessions_cached, touch_interval_s=limits.touch_interval_s)
    executions = Executions(store, background, clock, limits, observer)
    claims = Claims(store, background, clock, given.installation)
    supply = _supply(given, background, debts)

    def adopt(found: TakenOver) -> None:
        runs.adopt(found)

    takeover = Takeover(given.runtime, claims, background, limits, given.installation, owe=debts.owe, adopt=adopt)
    places = Places(
        catalog,
        supply,
        claims,
        Rests(given.runtime, limits, observer, supply.admission),
        background,
        resizing=Resizing(given.runtime, supply.admission, deadline_s=limits.call_deadline_s),
        observer=observer,
        limits=limits,
        owe=debts.owe,
        take_over=takeover.ensure,
        in_use=lambda session_id: bool(executions.running_in(session_id)),
        clock=clock,
        timers=given.timers,
        helpers=HelperDesk(given.helpers, executions),
    )
    runs = Runs(catalog, places, executions, background, supply.quiet)
    sweep = Sweep(store, _retention(limits), clock, interval_s=limits.results_sweep_s)
    return Parts(catalog, runs, places, supply, executions, takeover, sweep, background)


def _supply(given: Given, background: Background, debts: Debts) -> Supply:
    async def make(spec: SandboxSpec) -> LiveSandbox:
        try:
            return await boot(given.runtime, spec, given.limits, debts)
        except WorkbenchError:
            given.observer.sandbox_start_failed()
            raise

    return Supply(
        make,
        given.installation,
        background,
        given.observer,
        given.limits,
        owe=debts.owe,
        made_with=given.runtime.image_id,
        memory=given.runtime.memory_bytes,
    )


def _retention(limits: SessionLimits) -> Retention:
    return Retention(timedelta(seconds=limits.results_age_s), limits.results_kept, limits.results_bytes)
