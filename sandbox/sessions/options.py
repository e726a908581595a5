"""What can be set about sessions, with its defaults. `config.py` maps settings to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.limits import CALL_SLACK_S, MIB
from sandbox.sessions.reaper import IdleRules


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of the manager.

    `pool_size`: booted sandboxes kept ready. `boot_deadline_s`: from nothing to a kernel that takes executions.
    `pool_sizes`: the same for other sizes. `pool_retry_s`: wait after a failed refill; `pool_interval_s`: after one
    that worked. `pool_quiet_s`: a refill waits until nothing has run for so long, but not longer than
    `pool_postpone_s`. `pool_check_s`: how often ready ones are looked at; `pool_max_age_s`: how old they get.
    `max_sandboxes`, `max_memory_bytes` (the sum of their limits; None: a share of the engine's memory),
    `starts_at_once`: bounds on sandboxes, of which stopped ones do not count;
    `admission_queue` requests may wait for them, each for `admission_wait_s`.
    `call_deadline_s`: one engine call or one short call to the agent.
    `silence_s`: how much longer than its own deadline an agent may stay silent before it is taken for dead.
    `probe_s`: how long calls go on before the agent is asked whether it is there, and what it gets to answer.
    `shutdown_grace_s`: what running executions get at shutdown to end after their interrupt.
    `executions_per_session`, `executions_kept`, `kept_chars`: ended executions that can still be asked for, in
    number and in characters of output. `live_chars`: live output of one execution that a late follower can
    still read. `results_age_s`: how long results are stored, 0: not at all; `results_kept`, `results_bytes`: how many
    of all sessions together; `results_sweep_s`: how often what is over these bounds is removed. `sessions_cached`:
    sessions whose record is held in memory. `touch_interval_s`: how stale a session's stored `last_used_at` may be.
    `keep_sandboxes`: sessions' sandboxes, and what runs in them, are left to the next controller at shutdown.
    `idle`: when idle sandboxes are put to rest; `idle_of`: the same for owners with rules of their own.
    """

    pool_size: int = 2
    boot_deadline_s: float = 60.0
    pool_retry_s: float = 5.0
    pool_sizes: Mapping[str, int] = field(default_factory=dict)
    pool_interval_s: float = 0.1
    pool_quiet_s: float = 0.25
    pool_postpone_s: float = 5.0
    pool_check_s: float = 60.0
    pool_max_age_s: float = 3600.0
    max_sandboxes: int = 64
    max_memory_bytes: int | None = None
    starts_at_once: int = 4
    admission_queue: int = 64
    admission_wait_s: float = 30.0
    call_deadline_s: float = 30.0
    silence_s: float = CALL_SLACK_S
    probe_s: float = CALL_SLACK_S
    shutdown_grace_s: float = 10.0
    executions_per_session: int = 100
    executions_kept: int = 2000
    kept_chars: int = 64_000_000
    live_chars: int = 1_000_000
    results_age_s: float = 86_400.0
    results_kept: int = 100_000
    results_bytes: int = 1024 * MIB
    results_sweep_s: float = 60.0
    sessions_cached: int = 10_000
    touch_interval_s: float = 60.0
    keep_sandboxes: bool = False
    idle: IdleRules = field(default_factory=IdleRules)
    idle_of: Mapping[str, IdleRules] = field(default_factory=dict)
