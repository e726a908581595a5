"""From samples to rows: a figure, its reference, their ratio and the limit that the project has set itself. Pure."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sandbox.bench.samples import Samples, p95, quantile

if TYPE_CHECKING:
    from rich.table import Table


class Probe(StrEnum):
    """What is measured; milliseconds, MB where the name says memory or growth, calls a second where it says bulk."""

    ANSWER = "answer"
    RAW_ANSWER = "raw_answer"
    BASH = "bash"
    SUBPROCESS = "subprocess"
    EXEC = "exec"
    FIRST_POOLED = "first_pooled"
    FIRST_COLD = "first_cold"
    RAW_START = "raw_start"
    FLOOD = "flood"
    RAW_FLOOD = "raw_flood"
    CONTROLLER_GROWTH = "controller_growth"
    AGENT_GROWTH = "agent_growth"
    AT_ONCE = "at_once"
    IDLE_MEMORY = "idle_memory"
    DELETE = "delete"
    BULK = "bulk"
    BULK_MCP = "bulk_mcp"
    RAW_BULK = "raw_bulk"
    BULK_CONTROLLER_GROWTH = "bulk_controller_growth"
    BULK_AGENT_GROWTH = "bulk_agent_growth"


@dataclass(frozen=True, slots=True)
class _Line:
    """One row to be: `share` of the samples of `probe` over the same share of `reference`, at most `limit`.

    `least`: of the figure, where more is better.
    """

    what: str
    probe: Probe
    share: float = 0.5
    reference: Probe | None = None
    reference_share: float | None = None
    limit: float | None = None
    least: float | None = None
    unit: str = "ms"


_REFERENCES: Final = {
    Probe.RAW_ANSWER: "raw round trip",
    Probe.SUBPROCESS: "local subprocess",
    Probe.EXEC: "docker exec",
    Probe.RAW_START: "raw kernel start",
    Probe.RAW_FLOOD: "raw client",
    Probe.RAW_BULK: "bare HTTP requests",
}

_LINES: Final = (
    _Line("print(1), live session", Probe.ANSWER, 0.5, Probe.RAW_ANSWER, limit=1.25),
    _Line("print(1), live session, p95", Probe.ANSWER, 0.95, Probe.RAW_ANSWER, limit=1.5),
    _Line("print(1), live session", Probe.ANSWER, 0.5, Probe.EXEC),
    _Line("true, bash tool", Probe.BASH, 0.5, Probe.SUBPROCESS, limit=2.0),
    _Line("true, bash tool", Probe.BASH, 0.5, Probe.EXEC, limit=0.1),
    _Line("new session, first answer, full pool", Probe.FIRST_POOLED, 0.5, Probe.RAW_ANSWER, limit=6.0),
    _Line("new session, first answer, empty pool", Probe.FIRST_COLD, 0.5, Probe.RAW_START, limit=1.8),
    _Line("12 new sessions at once, p95", Probe.AT_ONCE, 0.95, Probe.RAW_ANSWER, 0.5, limit=20.0),
    _Line("100 MB of stdout in one cell", Probe.FLOOD, 0.5, Probe.RAW_FLOOD, limit=1.5),
    _Line("  growth of the controller", Probe.CONTROLLER_GROWTH, 1.0, limit=64.0, unit="MB"),
    _Line("  growth of the agent", Probe.AGENT_GROWTH, 1.0, limit=64.0, unit="MB"),
    _Line("idle sandbox, memory", Probe.IDLE_MEMORY, 0.5, limit=60.0, unit="MB"),
    _Line("delete of a session", Probe.DELETE, 0.5, limit=250.0),
    _Line("tool calls of 32 threads of a cell", Probe.BULK, 0.5, Probe.RAW_BULK, least=800.0, unit="/s"),
    _Line("  growth of the controller", Probe.BULK_CONTROLLER_GROWTH, 1.0, limit=16.0, unit="MiB"),
    _Line("  growth of the agent", Probe.BULK_AGENT_GROWTH, 1.0, limit=16.0, unit="MiB"),
    _Line("the same, of an MCP server", Probe.BULK_MCP, 0.5, Probe.RAW_BULK, unit="/s"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `limit` is of `ratio` where there is a reference, else of `figure`; `least` is of `figure`."""

    what: str
    figure: float
    p95: float
    unit: str
    samples: int
    reference: str | None
    reference_figure: float | None
    ratio: float | None
    limit: float | None
    least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the limit holds; None where there is none."""
        if self.least is not None:
            return self.figure >= self.least
        if self.limit is None:
            return None
        return (self.figure if self.ratio is None else self.ratio) <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of one run, and where it ran."""

    runtime: str
    rounds: int
    cpus: int
    python: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compose(samples: Mapping[Probe, Samples], *, runtime: str, rounds: int, notes: Sequence[str]) -> Report:
    """Make the rows whose samples there are."""
    rows = tuple(row for line in _LINES if (row := _row(line, samples)) is not None)
    return Report(runtime, rounds, os.cpu_count() or 1, platform.python_version(), rows, tuple(notes))


def _row(line: _Line, samples: Mapping[Probe, Samples]) -> Row | None:
    ours = samples.get(line.probe)
    theirs = samples.get(line.reference) if line.reference is not None else None
    if not ours or (line.reference is not None and not theirs):
        return None
    figure = quantile(ours, line.share)
    reference_figure = quantile(theirs, line.reference_share or line.share) if theirs else None
    return Row(
        what=line.what,
        figure=figure,
        p95=p95(ours),
        unit=line.unit,
        samples=len(ours),
        reference=_REFERENCES[line.reference] if line.reference is not None else None,
        reference_figure=reference_figure,
        ratio=figure / reference_figure if reference_figure else None,
        limit=line.limit,
        least=line.least,
    )


def as_table(report: Report) -> "Table":
    """Show a report as a table for a terminal."""
    from rich.table import Table  # noqa: PLC0415

    title = f"runtime {report.runtime}, {report.rounds} rounds, {report.cpus} CPUs, Python {report.python}"
    table = Table(title=title, title_justify="left")
    for name in ("what", "figure", "p95", "n", "reference", "its figure", "ratio", "limit"):
        table.add_column(name, justify="left" if name in ("what", "reference") else "right", no_wrap=True)
    for row in report.rows:
        table.add_row(
            row.what,
            _number(row.figure, row.unit),
            _number(row.p95, row.unit),
            str(row.samples),
            row.reference or "",
            _number(row.reference_figure, row.unit),
            f"{row.ratio:.2f} x" if row.ratio is not None else "",
            _limit(row),
            style="yellow" if row.met is False else None,
        )
    return table


def as_json(report: Report) -> bytes:
    """Give all figures as JSON, with `met` for each row."""
    body: dict[str, Any] = asdict(report)
    body["rows"] = [{**asdict(row), "met": row.met} for row in report.rows]
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def _limit(row: Row) -> str:
    if row.least is not None:
        shown = f"≥ {row.least:g} {row.unit}"
    elif row.limit is None:
        return ""
    else:
        shown = f"≤ {row.limit:g} x" if row.ratio is not None else f"≤ {row.limit:g} {row.unit}"
    return shown if row.met else f"{shown}  missed"
