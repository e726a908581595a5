"""What can be set about sessions, with its defaults. `config.py` maps settings to it."""

from dataclasses import dataclass

from sandbox.limits import CALL_SLACK_S


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of the manager.

    `pool_size`: booted sandboxes kept ready. `boot_deadline_s`: from nothing to a kernel that takes executions.
    `pool_retry_s`: wait after a failed refill. `call_deadline_s`: one engine call or one short call to the
    agent. `silence_s`: how much longer than its own deadline an agent may stay silent before it is taken for dead.
    `shutdown_grace_s`: what running executions get at shutdown to end after their interrupt.
    `executions_per_session`, `executions_kept`, `kept_chars`: ended executions that can still be asked for, in
    number and in characters of output. `live_chars`: live output of one execution that a late follower can
    still read. `sessions_cached`: sessions whose record is held in memory. `touch_interval_s`: how stale a
    session's stored `last_used_at` may be.
    """

    pool_size: int = 2
    boot_deadline_s: float = 60.0
    pool_retry_s: float = 5.0
    call_deadline_s: float = 30.0
    silence_s: float = CALL_SLACK_S
    shutdown_grace_s: float = 10.0
    executions_per_session: int = 100
    executions_kept: int = 2000
    kept_chars: int = 64_000_000
    live_chars: int = 1_000_000
    sessions_cached: int = 10_000
    touch_interval_s: float = 60.0
