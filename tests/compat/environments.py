"""Makes the environments of `versions`, several at once, in a cache folder of the checkout."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.compat.versions import NODE_PACKAGES, PYTHON_ENVIRONMENTS, PythonEnvironment

CACHE: Final = Path(__file__).parents[2] / ".cache" / "compat"
INSTALL_S: Final = 400
AT_ONCE: Final = 3
"""Installations mostly wait for the network and the disk."""

_WORDS: Final = 600
_COMPLETE: Final = "complete"


class NotInstalled(Exception):
    """An installer failed, took too long, or is not there; has its last words."""


class Environments:
    """Begins with all of them when the first one is asked for; each is waited for by those who need it."""

    def __init__(self, cache: Path = CACHE) -> None:
        self._cache = cache
        self._workers = ThreadPoolExecutor(AT_ONCE)
        self._pythons: dict[str, Future[Path]] = {}
        self._node: Future[Path] | None = None

    def python(self, wanted: PythonEnvironment) -> Path:
        """Give the interpreter of an environment.

        Raises:
            NotInstalled: pip could not fill it.
        """
        self._begin()
        return self._pythons[wanted.name].result()

    def node(self) -> Path:
        """Give the folder in which the Node packages are installed, `node_modules` in it.

        Raises:
            NotInstalled: there is no npm, or it could not fill it.
        """
        self._begin()
        assert self._node is not None
        return self._node.result()

    def close(self) -> None:
        """Begin no more of them, and wait for those that began."""
        self._workers.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        if self._node is not None:
            return
        self._node = self._workers.submit(_fill_node, self._cache)
        for wanted in PYTHON_ENVIRONMENTS:
            self._pythons[wanted.name] = self._workers.submit(_fill_python, self._cache, wanted)


def _fill_python(cache: Path, wanted: PythonEnvironment) -> Path:
    folder = cache / f"python-{wanted.name}-{_digest(*wanted.packages, sys.version)}"
    python = folder / "bin" / "python"
    with _alone(folder):
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, symlinks=True)  # without a pip of its own: ours fills it
            pip = [sys.executable, "-m", "pip", "--python", str(python)]
            _run([*pip, "install", "--quiet", "--no-compile", *wanted.packages])
            (folder / _COMPLETE).touch()
    return python


def _fill_node(cache: Path) -> Path:
    folder = cache / f"node-{_digest(*NODE_PACKAGES)}"
    with _alone(folder):
        if not (folder / _COMPLETE).exists():
            npm = shutil.which("npm")
            if npm is None:
                raise NotInstalled("npm is not there: install Node.js")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _run([npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-save", *NODE_PACKAGES])
            (folder / _COMPLETE).touch()
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: tests run in several processes, and each environment is made by one of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S, env=dict(os.environ))
    except subprocess.CalledProcessError as error:
        raise NotInstalled(f"{' '.join(command)} failed: {error.stderr.strip()[-_WORDS:]}") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{' '.join(command)} was not done after {INSTALL_S} s") from error


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
