"""Renew constraints.txt: resolve all that the project and its images install, for the oldest Python promised.

The result has names and versions only: no address, no hash, nothing of the machine that resolved it.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11.2"  # Debian 12; some packages want a later patch release than that
BUILD_TIME = ["editables"]  # what hatchling asks for when it makes an editable install
HEADING = "# Exact versions for make, the images and CI. Renewed by `make pins`; names and versions only.\n"


def requirements() -> list[str]:
    """List every requirement of pyproject.toml, its extras and its build, and of the images."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = [*project["build-system"]["requires"], *BUILD_TIME, *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        found += extra
    for file in sorted((ROOT / "images" / "packages").glob("python-*.txt")):
        lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
        found += [line for line in lines if line]
    return sorted(set(found))


def resolve(wanted: list[str]) -> dict[str, str]:
    """Ask pip which versions it would install; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "-qq", "--ignore-installed", "--only-binary", ":all:", "--target", folder]
        options += ["--python-version", OLDEST_PYTHON, "--report", str(report)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wanted], check=True)
        items = json.loads(report.read_text())["install"]
    versions = ((item["metadata"]["name"], item["metadata"]["version"]) for item in items)
    return {re.sub(r"[-_.]+", "-", name).lower(): version.partition("+")[0] for name, version in versions}


def main() -> None:
    """Write constraints.txt and say what changed in number."""
    pins = [f"{name}=={version}\n" for name, version in sorted(resolve(requirements()).items())]
    target = ROOT / "constraints.txt"
    before = target.read_text().splitlines(keepends=True) if target.exists() else []
    target.write_text(HEADING + "".join(pins))
    sys.stdout.write(f"constraints.txt: {len(pins)} packages, {len(set(pins) - set(before))} changed\n")


if __name__ == "__main__":
    main()
