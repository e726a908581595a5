"""An execution is never run twice: a request that repeats another one joins it and gets its answer.

A request says that it repeats another by `x-stainless-retry-count` over 0, or by an `Idempotency-Key` that was used
before. Two equal requests that do not say so are two executions.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import structlog
from fastapi import Request
from starlette.responses import Response

from sandbox.api.connected import while_connected
from sandbox.api.wire import JSON
from sandbox.errors import (
    Conflict,
    FieldError,
    HelperRefused,
    InvalidArguments,
    Overloaded,
    RequestError,
    UpstreamNotConfigured,
    WorkbenchError,
)
from sandbox.limits import MIB

RETRY_COUNT: Final = "x-stainless-retry-count"
IDEMPOTENCY_KEY: Final = "idempotency-key"

_KEY_CHARS: Final = 255
_REFUSALS: Final = (RequestError, Overloaded, HelperRefused, UpstreamNotConfigured)
"""Endings of what did not execute anything."""

Work: TypeAlias = Callable[[], Coroutine[Any, Any, bytes]]
"""Executes, and gives the body of the answer. Raises `WorkbenchError`."""


@dataclass(frozen=True, slots=True)
class OnceLimits:
    """Bounds. `kept_s`: seconds for which an execution that has ended can be joined; `kept`, `kept_bytes`: of those.

    `leaving_s`: seconds that an execution goes on after its client has left, when that client is one that repeats
    requests by itself: its next try joins it.
    """

    kept_s: float = 60.0
    leaving_s: float = 15.0
    kept: int = 10_000
    kept_bytes: int = 64 * MIB


@dataclass(slots=True, eq=False)
class _Entry:
    """One execution. `task`: while it runs; `outcome`: how it ended, None when that is not kept or it was ended.

    `timer`: ends it after its clients have left, or forgets it after its end.
    """

    names: tuple[bytes, ...]
    digest: bytes
    task: asyncio.Task[bytes] | None = None
    outcome: bytes | WorkbenchError | None = None
    waiting: int = 0
    patient: bool = False
    timer: asyncio.TimerHandle | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.outcome) if isinstance(self.outcome, bytes) else 0

    def set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        """Put a timer in the place of an earlier one."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request says of itself. `retry` None: its client is none that counts."""

    digest: bytes
    key: bytes | None
    retry: int | None

    @property
    def names(self) -> tuple[bytes, ...]:
        return (self.digest,) if self.key is None else (self.digest, self.key)


class Once:
    """Knows the executions that run and those that have ended lately, in memory."""

    def __init__(self, limits: OnceLimits | None = None) -> None:
        self._limits = limits or OnceLimits()
        self._by_name: dict[bytes, list[_Entry]] = {}
        self._kept: OrderedDict[_Entry, None] = OrderedDict()
        self._kept_bytes = 0

    def __len__(self) -> int:
        """How many it knows."""
        return len({id(entry) for entries in self._by_name.values() for entry in entries})

    async def answer(self, request: Request, owner: str, work: Work) -> Response:
        """Execute, or join the execution that this request repeats. The body of the request has to be read before.

        It is cancelled when its last client has left.

        Raises:
            InvalidArguments: the `Idempotency-Key` is none, or belongs to a request with another body or path.
            Conflict: it has run, and its answer is not kept; or it was ended because its client had left.
            ClientLeft: this client did.
            WorkbenchError: as `work` does.
        """
        asked = _read(request, owner, await request.body())
        entry = self._joined(asked) or self._begin(asked, work)
        entry.patient |= asked.retry is not None or asked.key is not None
        with self._waits(entry):
            body = await while_connected(request, self._ending(entry))
        structlog.contextvars.bind_contextvars(**entry.notes)
        return Response(body, media_type=JSON)

    # --- inside -------------------------------------------------------------------------------------------

    def _joined(self, asked: _Asked) -> _Entry | None:
        """Give the execution that a request repeats; of several one that nobody waits for, else the newest."""
        if asked.key is not None:
            for entry in self._by_name.get(asked.key, ()):
                if entry.digest != asked.digest:
                    raise _bad_key("belongs to a request with another body or path")
                return entry
            return None
        if not asked.retry:
            return None
        entries = self._by_name.get(asked.digest, ())
        return max(entries, key=lambda entry: entry.waiting == 0, default=None)

    def _begin(self, asked: _Asked, work: Work) -> _Entry:
        entry = _Entry(asked.names, asked.digest)
        for name in entry.names:
            self._by_name.setdefault(name, []).insert(0, entry)
        context = copy_context()
        task = entry.task = asyncio.create_task(work(), context=context)

        def ended(_task: asyncio.Task[bytes]) -> None:
            bound = context.run(structlog.contextvars.get_contextvars)
            entry.notes = {name: bound[name] for name in ("session", "execution") if name in bound}
            entry.task = None
            self._ended(entry, task)

        task.add_done_callback(ended)
        return entry

    def _ended(self, entry: _Entry, task: asyncio.Task[bytes]) -> None:
        """Keep how it ended; a refusal has executed nothing and is forgotten."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, _REFUSALS):
            self._forget(entry)
            return
        if isinstance(error, WorkbenchError):
            entry.outcome = error
        elif error is None and not task.cancelled() and len(task.result()) <= self._limits.kept_bytes:
            entry.outcome = task.result()
        self._kept[entry] = None
        self._kept_bytes += entry.size
        entry.set_timer(asyncio.get_running_loop().call_later(self._limits.kept_s, self._forget, entry))
        while len(self._kept) > self._limits.kept or self._kept_bytes > self._limits.kept_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, entry: _Entry) -> None:
        entry.set_timer(None)
        if entry in self._kept:
            del self._kept[entry]
            self._kept_bytes -= entry.size
        for name in entry.names:
            others = [each for each in self._by_name.get(name, ()) if each is not entry]
            if others:
                self._by_name[name] = others
            else:
                self._by_name.pop(name, None)

    @contextmanager
    def _waits(self, entry: _Entry) -> Iterator[None]:
        """Count who waits; when the last one leaves it is cancelled, after a while where that client repeats."""
        entry.waiting += 1
        if entry.task is not None:
            entry.set_timer(None)
        try:
            yield
        finally:
            entry.waiting -= 1
            if entry.task is not None and not entry.waiting:
                wait_s = self._limits.leaving_s if entry.patient else 0.0
                entry.set_timer(asyncio.get_running_loop().call_later(wait_s, entry.task.cancel))

    async def _ending(self, entry: _Entry) -> bytes:
        task = entry.task
        if task is not None:
            await asyncio.wait((task,))
            if not task.cancelled():
                return task.result()
        if isinstance(entry.outcome, bytes):
            return entry.outcome
        raise entry.outcome or Conflict(
            "This request was executed before, and its answer is not there: its client had left, or it was too large",
            suggested_fix="To execute it again send it without a retry count, or with another Idempotency-Key.",
        )


def _read(request: Request, owner: str, body: bytes) -> _Asked:
    scope = f"{owner}\0{request.scope['path']}\0".encode()
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not (0 < len(key) <= _KEY_CHARS and key.isprintable()):
        raise _bad_key(f"has to have from 1 to {_KEY_CHARS} printable characters")
    count = request.headers.get(RETRY_COUNT, "")
    return _Asked(
        hashlib.sha256(b"body\0" + scope + body).digest(),
        None if key is None else hashlib.sha256(f"key\0{owner}\0{key}".encode()).digest(),
        int(count) if count.isascii() and count.isdigit() and len(count) < 6 else None,
    )


def _bad_key(reason: str) -> InvalidArguments:
    return InvalidArguments(
        f"Idempotency-Key {reason}",
        errors=(FieldError("Idempotency-Key", reason),),
        suggested_fix="Use a new key for each execution, and the same one only to repeat it.",
    )
