"""The bench's side of a peer's child process: start it, ask it under a deadline, end it with all that it started."""

import os
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, TypeVar

from bench.environment import RUN
from bench.protocol import Answer, Lines, NotOfTheProtocol, Ready, Request, decode_answer, decode_ready, encode

START_S: Final = 90.0
END_S: Final = 30.0
KILL_S: Final = 5.0
POLL_S: Final = 0.02
CHUNK: Final = 65_536
WORDS: Final = 300

T = TypeVar("T")


class PeerFailed(Exception):
    """The child ended, was silent past its deadline or spoke otherwise than agreed; has its last words."""


class Child:
    """A peer in a process of its own. After `PeerFailed` it is not asked again; `end` is called in any case."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.run = secrets.token_hex(6)
        self.ready: Ready | None = None
        self._lines = Lines()
        self._log = folder / "stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**environment, RUN: self.run},
                start_new_session=True,
            )
        self._stdin: IO[bytes] = _there(self._process.stdin)
        self._stdout: IO[bytes] = _there(self._process.stdout)

    def wait_until_ready(self) -> Ready:
        """Wait for its first line.

        Raises:
            PeerFailed: it does not start.
        """
        self.ready = self._decoded(decode_ready, START_S)
        return self.ready

    def ask(self, request: Request) -> None:
        """Send a request; its answer is to be read before the next one.

        Raises:
            PeerFailed: the child has ended.
        """
        try:
            self._stdin.write(encode(request))
            self._stdin.flush()
        except BrokenPipeError as error:
            raise PeerFailed(f"ended: {self._last_words()}") from error

    def answer(self, request: Request, deadline_s: float) -> Answer:
        """Wait for the answer to a request that was sent.

        Raises:
            PeerFailed: there is none.
        """
        return self._decoded(lambda line: decode_answer(line, request.probe), deadline_s)

    def end(self, patience_s: float = END_S) -> bool:
        """Let it end by itself, then end what is left of it; whether all of it had ended by itself."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            clean = self._process.wait(patience_s) == 0
        except subprocess.TimeoutExpired:
            clean = False
        left = _kill_all_of(self.run)
        self._process.kill()  # nothing where it has ended; for systems that do not tell processes apart
        self._process.wait()
        self._stdout.close()
        return clean and not left

    def _decoded(self, decode: Callable[[bytes], T], deadline_s: float) -> T:
        line = self._line(deadline_s)
        try:
            return decode(line)
        except NotOfTheProtocol as error:
            raise PeerFailed(str(error)) from error

    def _line(self, deadline_s: float) -> bytes:
        limit = time.monotonic() + deadline_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while (line := self._lines.next()) is None:
                if not selector.select(max(0.0, limit - time.monotonic())):
                    raise PeerFailed(f"no answer after {deadline_s:.0f} s")
                data = os.read(self._stdout.fileno(), CHUNK)
                if not data:
                    raise PeerFailed(f"ended: {self._last_words()}")
                self._lines.feed(data)
        return line

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][-WORDS:] if lines else "without a word"


def _there(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("a child without pipes")
    return stream


def _kill_all_of(run: str) -> bool:
    """Kill until there are none, as they may start others meanwhile; whether there were any."""
    limit = time.monotonic() + KILL_S
    found = False
    while (left := _processes_of(run)) and time.monotonic() < limit:
        found = True
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    return found


def _processes_of(run: str) -> list[int]:
    """Give the processes that carry the token of a run; Linux only, elsewhere none are found."""
    mark = f"{RUN}={run}".encode()
    found: list[int] = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return found
