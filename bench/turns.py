"""The peers take turns: in each round and for each probe each one is asked once."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from bench.catalog import Entry
from bench.child import Child, PeerFailed
from bench.plan import FINDINGS, Plan
from bench.protocol import Probe, Request
from bench.results import Measured

ANSWER_S: Final = 45.0
SETTLE_S: Final = 0.25
"""After a probe that opened sessions: what ends them in the background is not to meet the next peer."""

Begin = Callable[[str], None]


class Turns:
    """The peers that have started, and what they answered."""

    def __init__(self, plan: Plan, begin: Begin) -> None:
        self._plan = plan
        self._begin = begin
        self._limit = 0.0
        self.measured: list[Measured] = []
        self._children: dict[str, Child] = {}

    def add(self, entry: Entry, child: Child) -> None:
        """Wait until a peer is ready; if it is not, its row says why."""
        measured = Measured(entry)
        self.measured.append(measured)
        try:
            measured.versions = child.wait_until_ready().versions
        except PeerFailed as error:
            measured.failure = f"did not start: {error}"
        else:
            self._children[entry.name] = child

    def add_missing(self, entry: Entry, reason: str) -> None:
        """Note a peer that could not be installed."""
        self.measured.append(Measured(entry, failure=f"was not installed: {reason}"))

    def measure(self) -> None:
        """Ask everything; in each round and for each probe the peers take turns."""
        self._limit = time.monotonic() + self._plan.limit_s
        self._ask_together(Request(Probe.MEMORY))
        for number in range(self._plan.rounds):
            self._begin(f"round {number + 1} of {self._plan.rounds}")
            for request in self._plan.each_round:
                self._ask_in_turn(request, number)
            if number == 0:  # where time runs out, a round less says more than a probe less
                self._ask_once()
        for probe in FINDINGS:
            self._begin(probe.value)
            self._ask_together(Request(probe))

    def _ask_once(self) -> None:
        for number, request in enumerate(self._plan.once):
            self._begin(request.probe.value)
            self._ask_in_turn(request, number)

    def _ask_in_turn(self, request: Request, turn: int) -> None:
        """One after the other, in another order each time: what one leaves behind does not always meet the same."""
        order = random.Random(turn).sample(self.measured, len(self.measured))  # noqa: S311  no secret
        for measured in order:
            if time.monotonic() < self._limit:
                self._ask([measured], request)
                time.sleep(0 if request.probe in (Probe.PRINT, Probe.BASH) else SETTLE_S)

    def _ask_together(self, request: Request) -> None:
        """At the same time: what is no measurement of time."""
        self._ask(self.measured, request)

    def _ask(self, those: list[Measured], request: Request) -> None:
        asked: list[tuple[Measured, Child]] = []
        for measured in those:
            child = self._children.get(measured.entry.name)
            if child is not None and self._tried(measured, request, partial(child.ask, request)):
                asked.append((measured, child))
        for measured, child in asked:
            self._tried(measured, request, partial(_take_answer, measured, child, request))

    def _tried(self, measured: Measured, request: Request, work: Callable[[], None]) -> bool:
        try:
            work()
        except PeerFailed as error:
            measured.failure = f"failed at {request.probe.value}: {error}"
            self._children.pop(measured.entry.name).end(patience_s=0)  # what hangs may keep a processor busy
            return False
        return True


def _take_answer(measured: Measured, child: Child, request: Request) -> None:
    measured.add(child.answer(request, ANSWER_S))
