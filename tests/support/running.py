"""What many tests of the manager over a scripted runtime do."""

from sandbox.pipe.messages import CodeResult, RunCode
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from tests.support.scripted_runtime import ScriptedRuntime


async def run(manager: SessionManager, session: Session, code: str) -> CodeResult:
    """Run Python to its end."""
    execution = await manager.start(session, RunCode(code), timeout_s=10)
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    return result


async def running(manager: SessionManager, scripted: ScriptedRuntime, session: Session, code: str) -> Execution:
    """Begin an execution and wait until the agent runs it."""
    execution = await manager.start(session, RunCode(code), timeout_s=10)
    await scripted.started.acquire()
    return execution
