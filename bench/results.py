"""What was measured of each peer, and the table of it. Pure."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bench.catalog import FAIRNESS, Entry
from bench.protocol import Answer, Probe
from sandbox.bench.samples import p50, p95

_TIMED: Final = {Probe.FIRST, Probe.POOLED, Probe.PRINT, Probe.BASH, Probe.AT_ONCE, Probe.FLOOD}


@dataclass(slots=True)
class Measured:
    """One peer's samples and findings. `failure`: why it gave nothing, or nothing more."""

    entry: Entry
    versions: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    samples: dict[Probe, list[float]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[Probe, Answer] = field(default_factory=dict)

    def add(self, answer: Answer) -> None:
        """Take one answer; samples add up, of the rest the last one stays, but an error is never covered up."""
        self.samples[answer.probe] += answer.seconds
        before = self.answers.get(answer.probe)
        if before is None or not before.error:
            self.answers[answer.probe] = answer


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how long it ran."""

    cpus: int
    python: str
    engine: str
    rounds: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one probe of one peer."""

    n: int
    p50: float
    p95: float
    worst: float


def figures(seconds: Sequence[float]) -> Figures | None:
    """Give the figures of samples; None without any."""
    if not seconds:
        return None
    found = [each * 1000 for each in seconds]
    return Figures(len(found), p50(found), p95(found), max(found))


def milliseconds(value: float) -> str:
    """Show a time with two figures or more."""
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def _spread(found: Figures, _: Answer) -> str:
    return f"{milliseconds(found.p50)} / {milliseconds(found.p95)}"


def _middle(found: Figures, _: Answer) -> str:
    return milliseconds(found.p50)


def _slowest(found: Figures, _: Answer) -> str:
    return f"{milliseconds(found.p50)} / {milliseconds(found.worst)}"


def _with_finding(found: Figures, answer: Answer) -> str:
    return f"{milliseconds(found.p50)}; {answer.said}"


_Cell = Callable[[Figures, Answer], str]

_ROWS: Final[tuple[tuple[Probe, str, _Cell], ...]] = (
    (Probe.FIRST, "new session, first answer, p50", _middle),
    (Probe.POOLED, "the same, from a pool, p50", _middle),
    (Probe.AT_ONCE, "4 new sessions at once, first answers, p50 / slowest", _slowest),
    (Probe.PRINT, "`print(1)`, live session, p50 / p95", _spread),
    (Probe.BASH, "`true` by its shell, p50", _middle),
    (Probe.FLOOD, "10 MB of stdout, p50", _with_finding),
    (Probe.MEMORY, "idle session, memory", _middle),
    (Probe.VARIABLE, "variables live on between calls", _middle),
    (Probe.EXCEPTION, "an exception is reported as one", _middle),
    (Probe.TIMEOUT, "after a loop timed out, variables", _middle),
)


def cell(measured: Measured, probe: Probe, show: _Cell) -> str:
    """Give the text of one cell: a figure, a finding, or why there is none."""
    answer = measured.answers.get(probe)
    if answer is None:
        return "failed" if measured.failure else "left out"
    if answer.cannot:
        return f"cannot: {answer.cannot}"
    if answer.error:
        return f"error: {answer.error}"
    if answer.megabytes is not None:
        return f"{answer.megabytes:.0f} MB ({answer.said})"
    found = figures(measured.samples[probe])
    return show(found, answer) if found is not None and probe in _TIMED else answer.said


def markdown(all_measured: Sequence[Measured], machine: Machine) -> str:
    """Give the table, what did not work, and the notes."""
    rows = [["", *(measured.entry.title for measured in all_measured)]]
    rows.append(["---"] * len(rows[0]))
    rows.append(["version", *(_versions(measured.versions) for measured in all_measured)])
    rows.append(["where the code runs", *(measured.entry.place for measured in all_measured)])
    for probe, title, show in _ROWS:
        rows.append([title, *(cell(measured, probe, show) for measured in all_measured)])
    table = "\n".join("| " + " | ".join(_escaped(text) for text in row) + " |" for row in rows)
    where = (
        f"{machine.cpus} CPUs, Python {machine.python}, Docker {machine.engine}, "
        f"{machine.rounds} rounds, {machine.duration_s:.0f} s."
    )
    failures = [f"- {each.entry.title}: {_escaped(each.failure)}" for each in all_measured if each.failure]
    parts = [where, table, *(["What failed:\n\n" + "\n".join(failures)] if failures else [])]
    parts.append("\n".join(f"- {note}" for note in FAIRNESS))
    return "\n\n".join(parts) + "\n"


def as_json(all_measured: Sequence[Measured], machine: Machine) -> bytes:
    """Give all samples and findings."""
    peers = [_body(measured) for measured in all_measured]
    return msgspec.json.format(msgspec.json.encode({"machine": machine, "peers": peers}), indent=2) + b"\n"


def _body(measured: Measured) -> dict[str, Any]:
    probes = {
        probe.value: {
            "seconds": measured.samples[probe],
            "milliseconds": figures(measured.samples[probe]),
            "megabytes": answer.megabytes,
            "said": answer.said,
            "cannot": answer.cannot,
            "error": answer.error,
        }
        for probe, answer in measured.answers.items()
    }
    return {
        "name": measured.entry.name,
        "packages": measured.entry.packages,
        "versions": measured.versions,
        "place": measured.entry.place,
        "failure": measured.failure,
        "probes": probes,
    }


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items()) or "did not start"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
