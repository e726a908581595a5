"""Sending again what an upstream did not do: after a 429, and when a connection failed before anything was sent.

What may have had an effect is never sent twice: the upstream says which it is (`UpstreamError.retry`).
"""

import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, TypeVar

import stamina

from sandbox.errors import UpstreamError

_FIRST_S: Final = 0.1
_MOST_S: Final = 5.0
_JITTER_S: Final = 0.2
_JITTER_SHARE: Final = 0.1

T = TypeVar("T")


class Retries:
    """Sends again up to `times` times, with backoff and jitter. `count` is called for each."""

    def __init__(self, times: int, count: Callable[[], None]) -> None:
        self._times = times
        self._count = count

    async def run(self, send: Callable[[], Awaitable[T]], *, until: float) -> T:
        """Give what `send` gives. `until`: the deadline, by the monotonic clock; it is not waited past that.

        Raises:
            UpstreamError: of the last attempt.
        """
        try:
            return await send()
        except UpstreamError as error:
            failed = error
            if not self._times or not failed.retry:
                raise
        return await self._again(send, failed, until)

    async def _again(self, send: Callable[[], Awaitable[T]], failed: UpstreamError, until: float) -> T:
        """Go on after the first attempt, which costs nothing of this when all is well."""
        context = stamina.retry_context(
            on=lambda error: self._wait(error, until),
            attempts=self._times + 1,
            timeout=None,
            wait_initial=_FIRST_S,
            wait_max=_MOST_S,
            wait_jitter=_JITTER_S,
        )
        async for attempt in context:
            with attempt:
                if attempt.num == 1:
                    raise failed
                self._count()
                return await send()
        raise failed

    def _wait(self, error: Exception, until: float) -> bool | float:
        """Say whether it is sent again: no, after the usual backoff, or after what the upstream asks for."""
        if not isinstance(error, UpstreamError) or not error.retry:
            return False
        asked = error.retry_after_s
        if asked is None:
            return monotonic() + _FIRST_S < until
        seconds = max(asked, 0.0) + random.uniform(0, _JITTER_S + _JITTER_SHARE * asked)  # noqa: S311 - no secret
        return seconds if monotonic() + seconds < until else False
