"""Where the time of an execution went, as it is told of."""

from datetime import UTC, datetime

import pytest

from sandbox.pipe.messages import Action, BashResult, Ending, Started
from sandbox.sessions.execution import Execution


def ended(*, waited_ms: float, duration_ms: float) -> dict[str, float]:
    """Give the stages of an execution that took no time here, by what its agent says of it."""
    execution = Execution(
        "exe_1", session_id="trs_1", owner="ann", kind="bash", created_at=datetime.now(UTC), timeout_s=5, live_chars=100
    )
    execution.stop_with(lambda: None, sent=True)
    execution.progress(Started(waited_ms))
    execution.end(BashResult(Ending.COMPLETED, Action.NONE, duration_ms=duration_ms))
    return execution.stages()


def test_what_did_not_wait_was_in_no_queue() -> None:
    assert ended(waited_ms=0, duration_ms=0.001)["queue"] == 0


@pytest.mark.parametrize(("waited_ms", "duration_ms"), [(1e9, 1e9), (-5, -5), (1e300, -1), (0, 1e12)])
def test_what_an_agent_says_is_kept_within_what_can_be(waited_ms: float, duration_ms: float) -> None:
    stages = ended(waited_ms=waited_ms, duration_ms=duration_ms)
    assert all(0 <= seconds < 60 for seconds in stages.values())
