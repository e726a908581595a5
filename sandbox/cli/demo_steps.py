"""What `workbench demo` shows: each step's code, and how its answer is held against what must come out. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from sandbox.client import ToolAnswer

ROWS: Final = 200_000
SPILL_BYTES: Final = 2_000_000
LOOP_TIMEOUT_S: Final = 2.0

Say = Callable[[ToolAnswer], str | None]
"""Says what is wrong with an answer; None when it is as it must be."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `{path}` in `source` stands for the spill file of the step before."""

    title: str
    kind: Literal["python", "bash"]
    source: str
    wrong: Say
    timeout_s: float = 120.0


def _completed(*needed: str) -> Say:
    """It succeeded, and its standard output has all of `needed`."""

    def wrong(answer: ToolAnswer) -> str | None:
        if not answer.successful:
            return f"it failed: {answer.error}"
        missing = [text for text in needed if text not in answer.text("stdout")]
        return f"its output lacks {missing!r}" if missing else None

    return wrong


def _plotted(answer: ToolAnswer) -> str | None:
    images = [artifact for artifact in answer.data.get("artifacts") or () if artifact["type"] == "image/png"]
    return _completed()(answer) or (None if images else "it shows no image")


def _spilled(answer: ToolAnswer) -> str | None:
    return _completed()(answer) or (None if answer.text("stdout_file_path") else "there is no file of the output")


def _timed_out(answer: ToolAnswer) -> str | None:
    ending, variables = (answer.execution.get(name) for name in ("ending", "variables"))
    if answer.successful or ending != "timed_out":
        return f"it should have timed out, and ended as {ending}"
    return None if variables == "kept" else f"variables are {variables}"


STEPS: Final = (
    Step(
        f"Make a CSV of {ROWS:,} rows",
        "python",
        f"""\
import csv, random
random.seed(7)
with open("orders.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["order", "region", "units", "price"])
    for order in range({ROWS}):
        rows.writerow([order, random.choice("NESW"), random.randint(1, 9), round(random.uniform(2, 80), 2)])
print("rows written:", order + 1)""",
        _completed(f"rows written: {ROWS}"),
    ),
    Step(
        "Group it with pandas; `orders` and `totals` stay in the kernel",
        "python",
        """\
import pandas as pd
orders = pd.read_csv("orders.csv")
orders["revenue"] = orders.units * orders.price
totals = orders.groupby("region").revenue.agg(["count", "sum", "mean"]).round(2)
print(totals)
print("counted:", totals["count"].sum())""",
        _completed(f"counted: {ROWS}"),
    ),
    Step(
        "Plot it; what is displayed becomes a file",
        "python",
        """\
import matplotlib.pyplot as plt
totals["sum"].plot.bar(title="Revenue by region")
plt.show()""",
        _plotted,
    ),
    Step(
        "The same file, the same sandbox, by the bash tool",
        "bash",
        """\
awk -F, 'NR > 1 { n[$2]++ } END { for (r in n) { print r, n[r]; sum += n[r] }; print "rows:", sum }' orders.csv""",
        _completed(f"rows: {ROWS}"),
    ),
    Step(
        "Print 2 MB: the answer has the beginning, a file has all of it",
        "python",
        f'line = "the whole of this is in a file; " * 4\nprint("\\n".join([line[:79]] * {SPILL_BYTES // 80}))',
        _spilled,
    ),
    Step(
        "Look into that file by bash",
        "bash",
        "head -n 2 {path}; wc -c < {path}",
        _completed(str(SPILL_BYTES)),
    ),
    Step(
        "A loop that never ends, with a limit of 2 seconds",
        "python",
        "turns = 0\nwhile True:\n    turns += 1",
        _timed_out,
        timeout_s=LOOP_TIMEOUT_S,
    ),
    Step(
        "Go on: the variables are still there",
        "python",
        'print(f"still loaded: {len(orders)} rows; the loop turned {turns:,} times")',
        _completed(f"still loaded: {ROWS} rows; the loop turned "),
    ),
)
