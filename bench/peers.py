"""Workbench beside other published systems: the same probes, in one run, as a table.

python -m bench.peers [--quick] [--json FILE] [--markdown FILE] [--only NAME ...]
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.catalog import ENTRIES, Entry
from bench.child import Child
from bench.engine import Engine
from bench.environment import IMAGE
from bench.install import NotInstalled, interpreter
from bench.plan import FULL, QUICK, Plan
from bench.results import Machine, Measured, as_json, markdown
from bench.turns import Turns
from sandbox.config import Settings, load_settings

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "peers"


@contextmanager
def started(
    entry: Entry, python: Path, scratch: Path, environment: Mapping[str, str], engine: Engine
) -> Iterator[Child]:
    """A peer's child; when left, nothing of it is left."""
    folder = scratch / entry.name
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    own = {name: str(temporary) for name in ("TMPDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")}
    child = Child([str(python), "-m", entry.adapter], folder, {**environment, **own, "PYTHONPATH": str(ROOT)})
    try:
        yield child
    finally:
        child.end()
        engine.remove(child.run, child.ready.installations if child.ready is not None else [])


def run(plan: Plan, entries: list[Entry], found: Settings) -> tuple[list[Measured], Machine]:
    """Install, start and measure the peers."""
    with ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="workbench-peers-"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        engine = stack.enter_context(Engine(found))
        environment = {**os.environ, IMAGE: found.image, **engine.environment}
        pythons: dict[str, Path | str] = {}
        for entry in entries:
            _say(f"installing {entry.title}")
            try:
                pythons[entry.name] = interpreter(entry, CACHE)
            except NotInstalled as error:
                pythons[entry.name] = str(error)
        began = time.monotonic()
        measuring = Turns(plan, _say)
        for entry in entries:
            python = pythons[entry.name]
            if isinstance(python, str):
                measuring.add_missing(entry, python)
                continue
            _say(f"starting {entry.title}")
            measuring.add(entry, stack.enter_context(started(entry, python, scratch, environment, engine)))
        measuring.measure()
        _say("ending")
        machine = (os.cpu_count() or 1, platform.python_version(), engine.version, plan.rounds)
    return measuring.measured, Machine(*machine, duration_s=time.monotonic() - began)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description="Workbench beside other published systems."
    )
    parser.add_argument("--quick", action="store_true", help="under a minute, with few samples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all samples to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    names = [entry.name for entry in ENTRIES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="measure these peers only")
    options = parser.parse_args()
    entries = [entry for entry in ENTRIES if entry.name in options.only]
    measured, machine = run(QUICK if options.quick else FULL, entries, load_settings())
    table = markdown(measured, machine)
    sys.stdout.write(table)
    if options.json is not None:
        options.json.write_bytes(as_json(measured, machine))
    if options.markdown is not None:
        options.markdown.write_text(table, encoding="utf-8")


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


if __name__ == "__main__":
    main()
