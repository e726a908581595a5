"""The arguments of the agent and the folders they name."""

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.limits import FILES_DIR, HELPERS_DIR, HOME_DIR, OUTPUT_LINK_NAME, OUTPUT_SUBDIR

_PRIVATE_PARENT = Path("/run/workbench")
_PRIVATE_PREFIX = "agent-"


@dataclass(frozen=True, slots=True)
class Options:
    """`private` holds sockets; when the agent made it, the agent removes it (`private_is_ours`).

    `helpers`: the package of helpers, with their command in its folder `bin`.
    """

    home: Path
    files: Path
    python: Path
    private: Path
    private_is_ours: bool
    helpers: Path

    @property
    def relay(self) -> Path:
        """The socket that helpers call."""
        return self.private / "relay"

    @property
    def answers(self) -> Path:
        """The folder for answers of helpers that are too long for a line."""
        return self.home / ".cache/workbench"

    @property
    def output(self) -> Path:
        """The folder of spill files."""
        return self.files / OUTPUT_SUBDIR


def parse(arguments: Sequence[str]) -> Options:
    """Read the arguments; make the private folder when none is named."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.agent", description="The agent inside a sandbox.")
    parser.add_argument("--home", default=HOME_DIR, help="home folder of user code")
    parser.add_argument("--files", default=FILES_DIR, help="folder of the session's files")
    parser.add_argument("--kernel-python", help="interpreter of the kernel (default: HOME/.venv/bin/python)")
    parser.add_argument("--private", help="folder for sockets (default: a fresh one)")
    parser.add_argument("--helpers", default=HELPERS_DIR, help="folder of the helpers' source")
    given = parser.parse_args(arguments)
    home = Path(given.home).absolute()
    return Options(
        home=home,
        files=Path(given.files).absolute(),
        # Not resolved: where the link lies makes it the interpreter of that virtual environment.
        python=Path(given.kernel_python or home / ".venv/bin/python").absolute(),
        private=Path(given.private).absolute() if given.private else _fresh_folder(),
        private_is_ours=given.private is None,
        helpers=Path(given.helpers).absolute(),
    )


def clear_leftovers() -> None:
    """Remove the private folders of agents that were killed in this sandbox, when it is certain that none lives.

    Only process 1 is certain of that. What a link points to is never touched.
    """
    if os.getpid() != 1:
        return
    for folder in _PRIVATE_PARENT.glob(f"{_PRIVATE_PREFIX}*"):
        # User code may have made a tree there that is too deep or not ours to remove: that must not stop the agent.
        with contextlib.suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)


def make_folders(options: Options) -> None:
    """Make the folders of user code, and the link by which they were known before (`~/.code_out`)."""
    for folder in (options.home, options.files):
        folder.mkdir(parents=True, exist_ok=True)
    options.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    # User code may have shut or replaced these before the sandbox was stopped: it is started all the same.
    with contextlib.suppress(OSError):
        options.output.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        (options.home / OUTPUT_LINK_NAME).symlink_to(options.output)


def _fresh_folder() -> Path:
    """Make a folder that only we may enter; its path is short, for those of sockets are."""
    try:
        return Path(tempfile.mkdtemp(prefix=_PRIVATE_PREFIX, dir=_PRIVATE_PARENT))
    except OSError:
        return Path(tempfile.mkdtemp(prefix=_PRIVATE_PREFIX))
