"""Executions on their way: from a session's request, or from an earlier controller, through its place to the end."""

from collections.abc import Awaitable

from sandbox.pipe.messages import RunCode
from sandbox.sessions import ids, runner, source
from sandbox.sessions.background import Background
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.execution import Execution, Kind
from sandbox.sessions.executions import Executions
from sandbox.sessions.place import Place
from sandbox.sessions.places import Places
from sandbox.sessions.quiet import Quiet
from sandbox.sessions.session import Session
from sandbox.sessions.takeover import TakenOver


class Runs:
    """Begins executions and follows them, as tasks of their own: none depends on who asked for it."""

    def __init__(
        self, catalog: Catalog, places: Places, executions: Executions, background: Background, quiet: Quiet
    ) -> None:
        self._catalog = catalog
        self._places = places
        self._executions = executions
        self._background = background
        self._quiet = quiet

    def start(self, session: Session, body: source.Run, timeout_s: float) -> Execution:
        """Begin to run code or a command in the session's place.

        Raises:
            PayloadTooLarge, InvalidArguments: the source cannot be sent.
        """
        source.check(body)
        place = self._places.of(session)
        kind: Kind = "python" if isinstance(body, RunCode) else "bash"
        execution = self._executions.begin(ids.execution_id(), session, kind, timeout_s)
        self._follow(execution, session, place, runner.run(execution, place, body))
        return execution

    def adopt(self, found: TakenOver) -> None:
        """Take a session's sandbox over, and follow what runs in it. Raises `NotFound` for a deleted session."""
        place = self._places.adopt(found)
        for survivor in found.survivors:
            if survivor.id in self._executions:
                continue  # not this agent's to name
            execution = self._executions.begin(
                survivor.id, found.session, survivor.kind.value, survivor.timeout_s, age_s=survivor.age_s
            )
            self._follow(execution, found.session, place, runner.rejoin(execution, found.sandbox, survivor))

    def _follow(self, execution: Execution, session: Session, place: Place, work: Awaitable[None]) -> None:
        self._background.spawn(self._to_its_end(execution, session, place, work), execution.id)

    async def _to_its_end(self, execution: Execution, session: Session, place: Place, work: Awaitable[None]) -> None:
        try:
            with place.used(), self._quiet.working():
                await self._executions.follow(execution, work)
        finally:
            self._catalog.touch(session)
