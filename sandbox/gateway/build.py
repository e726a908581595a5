"""The gateway, put together from the settings."""

from collections.abc import Callable
from time import time

from sandbox.config_upstreams import UpstreamSettings
from sandbox.gateway.audit import Audit, AuditBounds
from sandbox.gateway.budget import Budget, BudgetLimits
from sandbox.gateway.gateway import Gateway, GatewayParts
from sandbox.gateway.methods import make_methods
from sandbox.gateway.observer import GatewayObserver
from sandbox.gateway.policy import Policies
from sandbox.gateway.turns import TurnBounds, Turns
from sandbox.sessions.call_record import Amounts, CallStore
from sandbox.sessions.session import Session
from sandbox.upstreams.answer_room import AnswerRoom
from sandbox.upstreams.base import Upstreams
from sandbox.upstreams.credentials import SHORTEST_IN_WORDS, Scrubber, secrets_in


def build_gateway(
    settings: UpstreamSettings,
    upstreams: Upstreams,
    store: CallStore,
    observer: GatewayObserver,
    *,
    newest: Callable[[Session], Session],
) -> Gateway:
    """Make it; `start` before use. All secrets of the settings are kept out of what it says.

    `newest`: gives a session as it is now; its configuration may be another than when it was asked.
    """
    redact = Scrubber(secrets_in(settings), shortest=SHORTEST_IN_WORDS).text
    budget = Budget(_limits(settings), store, time)
    parts = GatewayParts(
        newest=newest,
        answers=AnswerRoom(settings.tool_answers_max_bytes),
        policies=Policies([*settings.mcp_servers, *settings.proxy_hosts]),
        budget=budget,
        turns=Turns(
            TurnBounds(settings.helper_calls_at_once, settings.helper_calls_at_once_per_session, settings.helper_queue)
        ),
        audit=Audit(store, budget, AuditBounds(days=settings.audit_days)),
        redact=redact,
        retries=settings.helper_retries,
        timeout_s=settings.helper_timeout_s,
        audit_arguments=settings.audit_arguments,
    )
    return Gateway(make_methods(upstreams, settings, redact), parts, observer)


def _limits(settings: UpstreamSettings) -> BudgetLimits:
    return BudgetLimits(
        session=Amounts(
            settings.calls_per_session, settings.model_chars_per_session, settings.upload_bytes_per_session
        ),
        key=Amounts(settings.calls_per_key, settings.model_chars_per_key, settings.upload_bytes_per_key),
    )
