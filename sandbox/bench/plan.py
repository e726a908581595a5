"""What is measured, how often, in which order: rounds in which ours and the references take turns."""

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from sandbox.bench.bulk import MCP_SLUG, bulk_settings, helper_calls_s, tool_server
from sandbox.bench.engine import EngineView
from sandbox.bench.place import Place
from sandbox.bench.process_memory import peak_mb, resident_mb
from sandbox.bench.raw import RawKernel
from sandbox.bench.report import Probe, Report, compose
from sandbox.bench.samples import Samples, repeat, timed
from sandbox.bench.tool_server import SLUG
from sandbox.bench.wire import Wire
from sandbox.config import RuntimeName, Settings
from sandbox.errors import InternalError
from sandbox.limits import MIB

PRINT: Final = "print(1)"
FLOOD_MB: Final = 100
FLOOD: Final = f"piece = ('x' * 99 + '\\n') * 10_000\nfor _ in range({FLOOD_MB}):\n    print(piece, end='')"
LIVE: Final = "live"

Begin = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How often. `answers`, `execs`, `claims`: samples in each round; `floods`: in all; `at_once`: 0 leaves it out.

    `bulk`: calls of tools in one cell; a fourth as many of an MCP server's.
    """

    rounds: int
    answers: int
    execs: int
    claims: int
    floods: int
    at_once: int
    at_once_times: int
    bulk: int

    @classmethod
    def full(cls, rounds: int | None) -> Self:
        """About two minutes and a half on two cores."""
        return cls(rounds or 5, answers=60, execs=8, claims=2, floods=3, at_once=12, at_once_times=2, bulk=20_000)

    @classmethod
    def quick(cls, rounds: int | None) -> Self:
        """About half a minute: fewer samples, and only a few sessions at once."""
        return cls(rounds or 2, answers=30, execs=4, claims=2, floods=1, at_once=0, at_once_times=0, bulk=2000)


class _Bench:
    """Two controllers (without a pool and with one), a raw kernel, two tool servers, and what they gave."""

    def __init__(self, found: Settings, plan: Plan, begin: Begin, stack: ExitStack) -> None:
        self._plan = plan
        self._begin = begin
        self.samples: dict[Probe, Samples] = defaultdict(list)
        self.notes: list[str] = []
        begin("starting two controllers, a raw kernel and two tool servers")
        self._backend = stack.enter_context(tool_server("composio"))
        mcp = stack.enter_context(tool_server("mcp"))
        self._bare = stack.enter_context(Place(found, pool_size=0, more=bulk_settings(self._backend, mcp)))
        self._pooled = stack.enter_context(Place(found, pool_size=plan.at_once or plan.claims + 1))
        self._raw = stack.enter_context(RawKernel())
        self._wire = self._bare.wire()
        stack.callback(self._wire.close)
        self._engine = EngineView(found) if found.runtime is RuntimeName.DOCKER else None
        if self._engine is not None:
            stack.callback(self._engine.close)
        self._sessions = 0

    def run(self) -> None:
        """Measure everything."""
        self._warm_up()
        self._idle_memory()
        for number in range(self._plan.rounds):
            self._begin(f"round {number + 1} of {self._plan.rounds}: answers of a live session")
            self._answers()
            self._begin(f"round {number + 1} of {self._plan.rounds}: first answers of new sessions")
            self._first_answers()
        for number in range(self._plan.floods):
            self._begin(f"{FLOOD_MB} MB of output, {number + 1} of {self._plan.floods}")
            self._flood()
        for number in range(self._plan.at_once_times):
            self._begin(f"{self._plan.at_once} sessions at once, {number + 1} of {self._plan.at_once_times}")
            self._at_once()
        self._begin(f"{self._plan.bulk:,} calls of a tool")
        self._bulk()

    def _warm_up(self) -> None:
        repeat(20, lambda: self._wire.code(LIVE, PRINT))
        repeat(20, lambda: self._raw.run(PRINT))
        repeat(5, lambda: self._wire.bash(LIVE, "true"))

    def _answers(self) -> None:
        """The halves of a round take turns, so that what disturbs the machine disturbs both."""
        times = self._plan.answers // 3
        self._wire.refresh()
        for _ in range(3):
            self.samples[Probe.ANSWER] += repeat(times, lambda: self._wire.code(LIVE, PRINT))
            self.samples[Probe.RAW_ANSWER] += repeat(times, lambda: self._raw.run(PRINT))
            self.samples[Probe.BASH] += repeat(times // 2, lambda: self._wire.bash(LIVE, "true"))
            self.samples[Probe.SUBPROCESS] += repeat(times // 2, _bash_true)
        if (engine := self._engine) is not None:
            container = self._live_container(engine)
            self.samples[Probe.EXEC] += repeat(self._plan.execs, lambda: engine.exec_true(container))

    def _first_answers(self) -> None:
        self._pooled.wait_for_pool()
        wire = self._pooled.wire()
        wire.refresh()
        for _ in range(self._plan.claims):
            session = self._new_session()
            self._first_answer(Probe.FIRST_POOLED, wire, session)
        self._pooled.wait_for_pool()
        wire.close()
        session = self._new_session()
        self._wire.refresh()
        self._first_answer(Probe.FIRST_COLD, self._wire, session)
        with ExitStack() as stack:
            self.samples[Probe.RAW_START] += repeat(1, lambda: stack.enter_context(RawKernel()))

    def _first_answer(self, probe: Probe, wire: Wire, session: str) -> None:
        self.samples[probe].append(timed(lambda: wire.code(session, PRINT)))
        self.samples[Probe.DELETE].append(timed(lambda: wire.delete(session)))

    def _flood(self) -> None:
        answer: dict[str, object] = {}
        self._wire.refresh()
        with self._growth(Probe.CONTROLLER_GROWTH, Probe.AGENT_GROWTH):
            self.samples[Probe.FLOOD] += repeat(1, lambda: answer.update(self._wire.code(LIVE, FLOOD)))
        path = answer.get("stdout_file_path")
        size = self._wire.bash(LIVE, f"wc -c < {path}; rm -f {path}")["stdout"].split()
        if size != [str(FLOOD_MB * 10**6)]:
            raise InternalError(f"the file of {FLOOD_MB} MB of output has {size} bytes")
        came = 0

        def raw() -> None:
            nonlocal came
            came = self._raw.run(FLOOD)

        self.samples[Probe.RAW_FLOOD] += repeat(1, raw)
        if came != FLOOD_MB * 10**6:
            self.notes.append(f"the raw client got {came:,} of {FLOOD_MB * 10**6:,} characters; ours kept all")

    def _bulk(self) -> None:
        """The calls of both after some that open all connections; the same number of bare ones between them."""
        calls = self._plan.bulk
        self._wire.refresh()
        for slug in (SLUG, MCP_SLUG):
            helper_calls_s(self._wire, LIVE, slug, 500)
        self._backend.ledger()
        with self._growth(Probe.BULK_CONTROLLER_GROWTH, Probe.BULK_AGENT_GROWTH, unit=MIB / 1e6):
            self.samples[Probe.BULK].append(helper_calls_s(self._wire, LIVE, SLUG, calls))
        if (ledger := self._backend.ledger()) != {"calls": calls, "again": 0}:
            raise InternalError(f"of {calls} calls of a tool its server saw {ledger}")
        self.samples[Probe.RAW_BULK].append(self._backend.raw_calls_s(calls))
        self.samples[Probe.BULK_MCP].append(helper_calls_s(self._wire, LIVE, MCP_SLUG, calls // 4))

    @contextmanager
    def _growth(self, of_controller: Probe, of_agent: Probe, unit: float = 1.0) -> Iterator[None]:
        """Take by how much controller and agent grow meanwhile, at most. `unit`: MB that it is counted in."""
        engine = self._engine
        agent = engine.first_process(self._live_container(engine)) if engine is not None else None
        pids = {of_controller: self._bare.pid, of_agent: agent}
        before = {probe: resident_mb(pid) for probe, pid in pids.items() if pid is not None}
        yield
        for probe, held in before.items():
            most = peak_mb(pid) if (pid := pids[probe]) is not None else None
            if held is not None and most is not None:
                self.samples[probe].append(max(0.0, most - held) / unit)

    def _at_once(self) -> None:
        """Each session has its own connection and thread; first answers, as each client sees its own."""
        self._pooled.wait_for_pool()
        wires = [self._pooled.wire() for _ in range(self._plan.at_once)]
        sessions = [self._new_session() for _ in wires]
        for wire in wires:
            wire.refresh()
        with ThreadPoolExecutor(len(wires)) as threads:
            asked = [
                threads.submit(timed, partial(wire.code, session, PRINT))
                for wire, session in zip(wires, sessions, strict=True)
            ]
            self.samples[Probe.AT_ONCE] += [each.result() for each in asked]
        for wire, session in zip(wires, sessions, strict=True):
            wire.delete(session)
            wire.close()

    def _idle_memory(self) -> None:
        engine = self._engine
        if engine is None:
            return
        self._pooled.wait_for_pool()
        self.samples[Probe.IDLE_MEMORY] += [
            engine.memory_mb(container) for container in engine.containers(self._pooled.installation)
        ]

    def _live_container(self, engine: EngineView) -> str:
        found = engine.containers(self._bare.installation)
        if len(found) != 1:
            raise InternalError(f"the bench expected one container of its own, found {len(found)}")
        return found[0]

    def _new_session(self) -> str:
        self._sessions += 1
        return f"bench-{self._sessions}"


def run_bench(found: Settings, plan: Plan, *, begin: Begin) -> Report:
    """Measure everything; takes about two minutes and a half, `quick` half a minute.

    Raises:
        WorkbenchError: something could not be measured, because an answer was not what it must be.
    """
    with ExitStack() as stack:
        bench = _Bench(found, plan, begin, stack)
        bench.run()
        begin("cleaning up")
    return compose(bench.samples, runtime=found.runtime.value, rounds=plan.rounds, notes=bench.notes)


def _bash_true() -> None:
    subprocess.run(["bash", "-c", "true"], check=True)
