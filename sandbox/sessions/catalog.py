"""Which session a request means: by id, label, user or owner. Answers from memory when it knows."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from sandbox.errors import Conflict, NotFound, StoreUnavailable
from sandbox.sessions import ids
from sandbox.sessions.background import Background
from sandbox.sessions.session import Session, name_of, storable
from sandbox.sessions.store import Store
from sandbox.sessions.write_behind import RETRY_MAX_S, RETRY_S

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]
_Key = tuple[str, str]

_TOUCH_DELAY_S = 0.25


class Catalog:
    """The store's sessions, with the last `cached` of them in memory.

    One look-up runs for one key, however many ask; sessions that are deleted here stay deleted here, also
    against a look-up that was under way.
    """

    def __init__(
        self, store: Store, background: Background, clock: Clock, *, cached: int, touch_interval_s: float
    ) -> None:
        self._store = store
        self._background = background
        self._clock = clock
        self._cached = cached
        self._touch_interval = timedelta(seconds=touch_interval_s)
        self._by_id: OrderedDict[str, Session] = OrderedDict()
        self._by_name: dict[_Key, str] = {}
        self._looking: dict[_Key, asyncio.Task[Session | None]] = {}
        self._touched: dict[str, datetime] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._unsure: set[str] = set()

    async def resolve(self, owner: str, ref: str | None, user_id: str | None) -> Session:
        """Give the session that is meant; one that is meant by name is created when there is none.

        Raises:
            NotFound: `ref` is a session id, and not of a session of this owner.
            StoreUnavailable: it is not in memory and the store does not answer.
        """
        if ref and ref.startswith(ids.SESSION_PREFIX):
            return await self.get(owner, ref)
        name = name_of(ref, user_id)
        known = self._by_id.get(self._by_name.get((owner, name), ""))
        if known is not None:
            return self._used(known)
        while True:
            session = await self._look(
                (owner, name), lambda: self._store.get_or_create(self._new(owner, name, user_id))
            )
            if session is not None and session.id not in self._deleted:
                return session

    async def get(self, owner: str, session_id: str) -> Session:
        """Give a session by its id, or by its label; never creates one. Raises as `resolve`."""
        if not session_id.startswith(ids.SESSION_PREFIX):
            return await self._get_by_name(owner, session_id)
        known = self._by_id.get(session_id)
        if known is None and ids.is_session_id(session_id):
            known = await self._look((owner, session_id), lambda: self._store.get(owner, session_id))
        if known is None or known.owner != owner or session_id in self._deleted:
            raise not_found(session_id)
        return self._used(known)

    async def linked(self, session_id: str) -> Session:
        """Give a session by its id alone, for those who came by a link signed for it. Raises as `resolve`."""
        known = self._by_id.get(session_id)
        if known is None and ids.is_session_id(session_id):
            known = await self._look(("", session_id), lambda: self._store.linked(session_id))
        if known is None or session_id in self._deleted:
            raise not_found(session_id)
        return self._used(known)

    async def _get_by_name(self, owner: str, label: str) -> Session:
        name = name_of(label, None)
        known = self._by_id.get(self._by_name.get((owner, name), ""))
        if known is None:
            known = await self._look((owner, name), lambda: self._store.find(owner, name))
        if known is None or known.id in self._deleted:
            raise not_found(label)
        return self._used(known)

    async def create(
        self, owner: str, label: str | None, user_id: str | None, config: dict[str, Any], sandbox_size: str
    ) -> Session:
        """Make a session with a configuration; one without a label is known by its id only.

        Raises:
            Conflict: the label is taken.
            StoreUnavailable: the store does not answer.
        """
        name = name_of(label, None) if label else None
        new = replace(self._new(owner, name, user_id), config=config, sandbox_size=sandbox_size)
        made = await self._remember(lambda: self._store.get_or_create(new))
        if made is None or made.id != new.id:
            raise Conflict(
                f"there is a session {label!r} already", suggested_fix="Take another label, or delete that session."
            )
        return made

    async def change(self, session: Session, change: Callable[[Session], Session], expected: int | None) -> Session:
        """Store a new configuration, which `change` makes of the session as the store has it now.

        `expected`: the version that it has to have; None: whichever, and of several changes at once each is made.

        Raises:
            Conflict: it has another version.
            NotFound: it was deleted.
            StoreUnavailable: the store does not answer.
        """
        # Else who leaves in the middle leaves this memory behind the store.
        return await self._background.whole(self._change(session, change, expected), "change of a configuration")

    async def _change(self, session: Session, change: Callable[[Session], Session], expected: int | None) -> Session:
        while True:
            old = await self._store.get(session.owner, session.id)
            if old is None:
                raise not_found(session.id)
            if expected is not None and old.config_version != expected:
                raise Conflict(
                    f"expected_config_version is {expected}, and the session's configuration has version "
                    f"{old.config_version}",
                    suggested_fix="Read the session again, and make the change to what it has now.",
                )
            new = change(old)
            try:
                if await self._store.replace_config(old, new):
                    return self._renew(new)
            except StoreUnavailable:
                self._look_again(session)
                raise

    def _look_again(self, session: Session) -> None:
        """The store may have made a change without a word: find out what holds, as soon as it answers."""
        if session.id not in self._unsure:
            self._unsure.add(session.id)
            self._background.spawn_lasting(self._until_sure(session), f"configuration of {session.id}")

    async def _until_sure(self, session: Session) -> None:
        pause_s = RETRY_S
        while session.id in self._unsure:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)
            try:
                found = await self._store.get(session.owner, session.id)
            except StoreUnavailable:
                continue
            self._unsure.discard(session.id)
            if found is not None:
                self._renew(found)

    def _used(self, session: Session) -> Session:
        """Note that a session is in use, so that others are forgotten before it."""
        if session.id in self._by_id:
            self._by_id.move_to_end(session.id)
        return session

    def _renew(self, new: Session) -> Session:
        """Hold a session's new configuration in memory, unless a newer one is there by now."""
        known = self._by_id.get(new.id)
        if known is None:
            return new
        if known.config_version < new.config_version:
            self._by_id[new.id] = replace(new, last_used_at=known.last_used_at)
        return new

    async def list(self, owner: str, *, limit: int, after: str | None) -> list[Session]:
        """Give the owner's sessions, newest first. Raises `StoreUnavailable`, and `NotFound` for `after`."""
        if after is not None and not ids.is_session_id(after):
            raise not_found(after)
        found = await self._store.list(owner, limit=limit, after=after)
        return [self._by_id.get(session.id, session) for session in found if session.id not in self._deleted]

    async def delete(self, session: Session) -> bool:
        """Mark it deleted, and say whether it was not: the store may have done so without a word.

        Raises:
            StoreUnavailable: it is not known whether it is deleted now; to be asked again.
        """
        was_there = await self._store.delete(session.owner, session.id, self._clock())
        self._deleted[session.id] = None
        if len(self._deleted) > self._cached:
            self._deleted.popitem(last=False)
        self._forget(session.id)
        return was_there

    def newest(self, session: Session) -> Session:
        """Give a session as it is in memory, when its configuration is newer there."""
        known = self._by_id.get(session.id, session)
        return known if known.config_version > session.config_version else session

    def check_alive(self, session: Session) -> None:
        """Raise `NotFound` for a session that was deleted since the caller got it."""
        if session.id in self._deleted:
            raise not_found(session.id)

    def touch(self, session: Session) -> None:
        """Note that it is used; the store hears of it in the background, and not each time."""
        now = self._clock()
        session = self._by_id.get(session.id, session)
        if session.last_used_at is not None and now - session.last_used_at < self._touch_interval:
            return
        if session.id in self._by_id:
            self._by_id[session.id] = replace(session, last_used_at=now)
        if not self._touched:
            self._background.spawn(self._store_touches(), "note of the sessions' use", apart=True)
        self._touched[session.id] = now

    async def _store_touches(self) -> None:
        # Many sessions that begin at once are noted in one write, and not while their first answers are awaited.
        await asyncio.sleep(_TOUCH_DELAY_S)
        touched, self._touched = self._touched, {}
        try:
            await self._store.touch(touched)
        except StoreUnavailable as error:
            log.warning("the use of sessions could not be noted", count=len(touched), error=str(error))

    def _new(self, owner: str, name: str | None, user_id: str | None) -> Session:
        now = self._clock()
        return Session(
            id=ids.session_id(),
            owner=owner,
            name=name,
            user_id=storable(user_id) if user_id else None,
            created_at=now,
            updated_at=now,
        )

    async def _look(self, key: _Key, find: Callable[[], Awaitable[Session | None]]) -> Session | None:
        """Ask the store, once for all who ask for this key now."""
        task = self._looking.get(key)
        if task is None:
            task = self._background.spawn(self._remember(find), "look-up of a session", awaited=True)
            self._looking[key] = task
            task.add_done_callback(lambda _done: self._looking.pop(key))
        return await asyncio.shield(task)

    async def _remember(self, find: Callable[[], Awaitable[Session | None]]) -> Session | None:
        session = await find()
        if session is None or session.id in self._deleted:
            return session
        session = self._by_id.setdefault(session.id, session)
        if session.name is not None:
            self._by_name[session.owner, session.name] = session.id
        while len(self._by_id) > self._cached:
            self._forget(next(iter(self._by_id)))
        return session

    def _forget(self, session_id: str) -> None:
        session = self._by_id.pop(session_id, None)
        if session is not None and session.name is not None:
            self._by_name.pop((session.owner, session.name), None)


def not_found(session_id: str) -> NotFound:
    """Make the error for an id that is unknown, deleted or another owner's: all three look the same."""
    if session_id.startswith(ids.SESSION_PREFIX):
        fix = "Leave session_id out, or use the id of a session of this API key."
    else:
        fix = "The sessions of this API key are listed by GET /v1/sessions and `workbench sessions`."
    return NotFound(f"no session {session_id!r}", suggested_fix=fix)
