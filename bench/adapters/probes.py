"""The probes, the same lines for every peer. What is timed is the peer's call alone, not the protocol around it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from bench.adapters.base import Cannot, Peer, Result, Session, TimedOut
from bench.protocol import Answer, Probe, Request

PRINT: Final = "print(1)"
FLOOD_CHARS: Final = 10_000_000
FLOOD: Final = "piece = ('x' * 99 + '\\n') * 1_000\nfor _ in range(100):\n    print(piece, end='')"
LOOP: Final = "while True:\n    pass"
TIMEOUT_S: Final = 60
SHORT_TIMEOUT_S: Final = 2
AT_ONCE: Final = 4
TRIES: Final = 3
WARM_UP: Final = 10


class WrongAnswer(Exception):
    """A peer gave another answer than the code's."""


class Probes:
    """One live session of a peer, and what is asked of it and of new ones."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._live = peer.open(TIMEOUT_S)
        for _ in range(WARM_UP):
            _print(self._live)

    def close(self) -> None:
        """End the live session and the peer."""
        self._live.close()
        self._peer.close()

    def answer(self, request: Request) -> Answer:
        """Do what is asked.

        Raises:
            Cannot: the peer has no such thing.
        """
        probes: dict[Probe, Callable[[Request], Answer]] = {
            Probe.FIRST: self._first,
            Probe.POOLED: self._pooled,
            Probe.PRINT: self._print,
            Probe.BASH: self._bash,
            Probe.AT_ONCE: self._at_once,
            Probe.FLOOD: self._flood,
            Probe.MEMORY: self._memory,
            Probe.VARIABLE: self._variable,
            Probe.EXCEPTION: self._exception,
            Probe.TIMEOUT: self._timeout,
        }
        return probes[request.probe](request)

    def _print(self, request: Request) -> Answer:
        return _repeat(request, lambda: _timed(lambda: _print(self._live)))

    def _bash(self, request: Request) -> Answer:
        self._live.bash("true")
        return _repeat(request, lambda: _timed(lambda: self._live.bash("true")))

    def _first(self, request: Request) -> Answer:
        return _repeat(request, lambda: _first_answer(lambda: self._peer.open(TIMEOUT_S)))

    def _pooled(self, request: Request) -> Answer:
        return _repeat(request, lambda: _first_answer(self._peer.open_pooled))

    def _at_once(self, request: Request) -> Answer:
        """Each in a thread; each one's time from the common start to its own first answer."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            asked = [threads.submit(_first_answer, lambda: self._peer.open(TIMEOUT_S)) for _ in range(AT_ONCE)]
            return Answer(request.probe, seconds=[each.result() for each in asked])

    def _flood(self, request: Request) -> Answer:
        results: list[Result] = []
        answer = _repeat(request, lambda: _timed(lambda: results.append(self._live.run(FLOOD))))
        return Answer(request.probe, seconds=answer.seconds, said=_kept(results[-1]))

    def _memory(self, request: Request) -> Answer:
        megabytes, remark = self._live.memory()
        return Answer(request.probe, megabytes=megabytes, said=remark)

    def _variable(self, request: Request) -> Answer:
        self._live.run("kept = 41")
        text = self._live.run("print(kept + 1)").text.strip()
        return Answer(request.probe, said="yes" if text == "42" else "no")

    def _exception(self, request: Request) -> Answer:
        result = self._live.run("1 / 0")
        named = "ZeroDivisionError" in result.text
        said = {(True, True): "yes", (False, True): "in the text only", (True, False): "marked, not named"}
        return Answer(request.probe, said=said.get((result.failed, named), "no"))

    def _timeout(self, request: Request) -> Answer:
        session = self._peer.open(SHORT_TIMEOUT_S)
        try:
            session.run("kept = 41")
            return Answer(request.probe, said=_after_timeout(session))
        finally:
            session.close()


def _after_timeout(session: Session) -> str:
    """What the next call of the session finds, and if it hangs too, what the peer's own way out changes."""
    with suppress(TimedOut):
        session.run(LOOP)
    found = _variables(session)
    if found != "hangs":
        return found
    try:
        done = session.recover()
    except Cannot:
        return found
    return f"hangs until the caller {done}, then {_variables(session)}"


def _variables(session: Session) -> str:
    """A request that was queued behind an interrupted one may be answered with nothing at all: then ask again."""
    for _ in range(TRIES):
        try:
            result = session.run("print(kept + 1)")
        except TimedOut:
            return "hangs"
        if "42" in result.text:
            return "kept"
        if "NameError" in result.text:
            return "lost"
    return "no answer"


def _kept(result: Result) -> str:
    count = result.whole if result.whole is not None else len(result.text)
    if count < FLOOD_CHARS:
        return f"{count / FLOOD_CHARS:.0%} arrived"
    return "all, in a file" if result.whole is not None else "all, in the answer"


def _print(session: Session) -> None:
    result = session.run(PRINT)
    if result.failed or result.text.strip() != "1":
        raise WrongAnswer(f"{PRINT} gave {result.text[:200]!r}")


def _first_answer(opened: Callable[[], Session]) -> float:
    """Seconds until a new session has answered; it is closed afterwards."""
    began = time.perf_counter()
    session = opened()
    try:
        _print(session)
        return time.perf_counter() - began
    finally:
        session.close()


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _repeat(request: Request, sample: Callable[[], float]) -> Answer:
    limit = time.monotonic() + request.budget_s
    seconds = [sample()]
    while len(seconds) < request.times and time.monotonic() < limit:
        seconds.append(sample())
    return Answer(request.probe, seconds=seconds)
