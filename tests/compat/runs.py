"""Runs a program by an environment's interpreter, and holds what it said."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.api.conftest import KEY

PROGRAMS: Final = Path(__file__).parent / "programs"
RUN_S: Final = 150


@dataclass(frozen=True)
class Said:
    """How each step of a program ended."""

    steps: dict[str, Any]

    def value(self, step: str) -> Any:
        """What a step gave; it must not have raised."""
        ended = self.steps[step]
        assert "value" in ended, f"{step}: {ended}"
        return ended["value"]

    def raised(self, step: str) -> dict[str, Any]:
        """How a step raised: `raised` (names of classes), `status`, `words`, `details`."""
        ended: dict[str, Any] = self.steps[step]
        assert "raised" in ended, f"{step}: {ended}"
        return ended


def run_program(interpreter: Path, program: str, folder: Path, url: str, **more: str) -> Said:
    """Run a program of `programs` against a server. `folder`: where it may leave things; `more`: COMPAT_ variables."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "COMPAT_URL": url,
        "COMPAT_KEY": KEY,
        **{f"COMPAT_{name.upper()}": value for name, value in more.items()},
    }
    command = [str(interpreter), str(PROGRAMS / program)]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return Said(json.loads(ended.stdout))
