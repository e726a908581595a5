"""Controllers that follow one another over the same scripted engine and database."""

from sandbox.errors import EngineUnavailable
from sandbox.pipe.link import Link
from sandbox.pipe.messages import RunCode
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from tests.support.borrowed import Borrowed

KEEP = SessionLimits(pool_size=0, keep_sandboxes=True, call_deadline_s=5, shutdown_grace_s=1)


class Lasting(Borrowed):
    """An engine that lives longer than the controllers that use it. `refusals`: how often it does not open a pipe."""

    refusals = 0

    async def open(self, sandbox_id: str) -> Link:
        """Open a sandbox's pipe, or refuse to."""
        if self.refusals:
            self.refusals -= 1
            raise EngineUnavailable("the engine went away")
        return await self._runtime.open(sandbox_id)


async def ask(manager: SessionManager, session: Session, code: str) -> Execution:
    """Begin to run Python."""
    return await manager.start(session, RunCode(code), timeout_s=10)


async def answer(manager: SessionManager, session: Session, code: str = "echo") -> Execution:
    """Run Python to its end."""
    execution = await ask(manager, session, code)
    await execution.wait()
    return execution
