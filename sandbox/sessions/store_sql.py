"""The store in a SQL database, by SQLAlchemy: SQLite or PostgreSQL, the same statements for both."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sandbox.errors import NotFound, StoreUnavailable
from sandbox.sessions import calls_sql, configs_sql, engine_sql, results_sql
from sandbox.sessions.call_record import Amounts, CallRecord, Usage
from sandbox.sessions.record import ExecutionRecord
from sandbox.sessions.session import Session
from sandbox.sessions.store import Claim, ConfigVersion, Retention
from sandbox.sessions.tables import CREATE_SCHEMA_VERSION, MIGRATIONS, helper_usage, sandboxes, schema_version, sessions

_COLUMNS = tuple(column for column in sessions.c if column.name != "deleted_at")
_ALIVE = sessions.c.deleted_at.is_(None)
_MIGRATION_LOCK = 0x776F726B62656E63
"""Number of PostgreSQL's advisory lock for migrations; any constant will do."""


class SqlStore:
    """The store behind a database URL; `deadline_s` bounds every method.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, url: str, *, deadline_s: float = 10.0) -> None:
        parsed = engine_sql.parse(url)
        self._is_file = parsed.get_backend_name() == "sqlite"
        self._where = parsed.render_as_string(hide_password=True)
        self._deadline_s = deadline_s
        self._engine = engine_sql.build(parsed, deadline_s=deadline_s)
        self._foreign = _foreign_errors(parsed.get_backend_name())

    def __repr__(self) -> str:
        return f"SqlStore({self._where!r})"

    async def open(self) -> None:
        """Create or renew the tables; several controllers may do so at once."""
        async with self._transaction(writes=True) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            await connection.exec_driver_sql(CREATE_SCHEMA_VERSION)
            newest = await connection.scalar(sa.select(sa.func.max(schema_version.c.version))) or 0
            if newest > len(MIGRATIONS):
                raise StoreUnavailable(
                    f"the database has schema version {newest}, this controller knows {len(MIGRATIONS)}",
                    suggested_fix="Run the newer version of the controller.",
                )
            for version, statements in enumerate(MIGRATIONS[newest:], newest + 1):
                for statement in statements:
                    await connection.exec_driver_sql(statement)
                await connection.execute(schema_version.insert().values(version=version, applied_at=datetime.now(UTC)))

    async def get_or_create(self, new: Session) -> Session:
        """Give the owner's session of that name; `new` itself when there is none. Safe against others."""
        try:
            async with self._transaction(writes=True) as connection:
                await connection.execute(sessions.insert().values(**_row(new)))
        except sa.exc.IntegrityError as error:
            # It is there already; the unique index has decided. Asking first would cost each new session a query more.
            known = await self.find(new.owner, new.name) if new.name is not None else None
            if known is None:
                raise self._unavailable(error) from error
            return known
        return new

    async def find(self, owner: str, name: str) -> Session | None:
        """Give the owner's session of that name."""
        return await self._one(sessions.c.owner == owner, sessions.c.name == name)

    async def get(self, owner: str, session_id: str) -> Session | None:
        """Give the owner's session with that id."""
        return await self._one(sessions.c.owner == owner, sessions.c.id == session_id)

    async def linked(self, session_id: str) -> Session | None:
        """Give the session with that id, whoever owns it."""
        return await self._one(sessions.c.id == session_id)

    async def list(self, owner: str, *, limit: int, after: str | None) -> list[Session]:
        """Give the owner's sessions, newest first, from the one after id `after`.

        Raises:
            NotFound: the owner never had a session `after`.
        """
        age = sa.tuple_(sessions.c.created_at, sessions.c.id)
        query = sa.select(*_COLUMNS).where(sessions.c.owner == owner, _ALIVE)
        async with self._transaction() as connection:
            if after is not None:
                query = query.where(age < sa.tuple_(*await self._mark(connection, owner, after)))
            rows = await connection.execute(
                query.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit)
            )
            return [_session(row) for row in rows]

    async def touch(self, uses: Mapping[str, datetime]) -> None:
        """Note when sessions, by id, were last used; those that were deleted are left out."""
        query = sessions.update().where(sessions.c.id == sa.bindparam("used"), _ALIVE)
        async with self._transaction(writes=True) as connection:
            await connection.execute(
                query.values(last_used_at=sa.bindparam("at")),
                [{"used": session_id, "at": at} for session_id, at in uses.items()],
            )

    async def delete(self, owner: str, session_id: str, at: datetime) -> bool:
        """Mark a session deleted, and delete its executions. Whether there was one."""
        async with self._transaction(writes=True) as connection:
            marked = await connection.execute(
                sessions.update()
                .where(sessions.c.id == session_id, sessions.c.owner == owner, _ALIVE)
                .values(deleted_at=at, updated_at=at)
            )
            if marked.rowcount > 0:
                await results_sql.forget_sessions(connection, [session_id])
                await configs_sql.forget_sessions(connection, [session_id])
            return marked.rowcount > 0

    async def replace_config(self, old: Session, new: Session) -> bool:
        """Store a session's new configuration. See `Store.replace_config`."""
        async with self._transaction(writes=True) as connection:
            return await configs_sql.replace(connection, old, new)

    async def earlier_configs(self, session_id: str, *, limit: int, before: int | None) -> Sequence[ConfigVersion]:
        """Give the configurations that a session had, newest first, from the one before version `before`."""
        async with self._transaction() as connection:
            return await configs_sql.earlier(connection, session_id, limit=limit, before=before)

    async def count_earlier_configs(self, session_id: str) -> int:
        """Say how many of them are kept."""
        async with self._transaction() as connection:
            return await configs_sql.count(connection, session_id)

    async def claims(self, installation: str) -> Sequence[tuple[Claim, Session | None]]:
        """Give all claims of an installation, oldest first, each with its session; None for a deleted one."""
        query = (
            sa.select(sandboxes, *_COLUMNS)
            .select_from(sandboxes.outerjoin(sessions, (sessions.c.id == sandboxes.c.session_id) & _ALIVE))
            .where(sandboxes.c.installation == installation)
            .order_by(sandboxes.c.claimed_at, sandboxes.c.sandbox_id)
        )
        width = len(sandboxes.c)
        async with self._transaction() as connection:
            rows = [tuple(row) for row in await connection.execute(query)]
        names = [column.name for column in _COLUMNS]
        return [
            (Claim(*row[:width]), Session(**dict(zip(names, row[width:], strict=True))) if row[width] else None)
            for row in rows
        ]

    async def change_claims(self, made: Sequence[Claim], ended: Sequence[str]) -> None:
        """Store claims, each in the place of an earlier one of that sandbox, and delete those of sandboxes."""
        replaced = [*ended, *(claim.sandbox_id for claim in made)]
        async with self._transaction(writes=True) as connection:
            await connection.execute(sandboxes.delete().where(sandboxes.c.sandbox_id.in_(replaced)))
            if made:
                await connection.execute(sandboxes.insert(), [asdict(claim) for claim in made])

    async def keep_executions(self, ended: Sequence[ExecutionRecord], *, per_session: int) -> None:
        """Store executions, all or none; of each session the newest `per_session` are kept.

        One that is there already stays as it is; those of deleted sessions are left out.
        """
        async with self._transaction(writes=True) as connection:
            await results_sql.keep(connection, ended, per_session=per_session)

    async def execution(self, owner: str, execution_id: str) -> ExecutionRecord | None:
        """Give the owner's ended execution with that id."""
        async with self._transaction() as connection:
            return await results_sql.find(connection, owner, execution_id)

    async def executions(self, session_id: str) -> Sequence[ExecutionRecord]:
        """Give a session's ended executions, the one that ended last first."""
        async with self._transaction() as connection:
            return await results_sql.of_session(connection, session_id)

    async def purge(self, bounds: Retention, now: datetime, *, at_most: int) -> int:
        """Delete executions beyond the bounds and sessions that were deleted long ago, `at_most` of each.

        Give how many that were; 0: nothing is left to delete.
        """
        # Looked for without the lock of a writer; what is found can only become older until it is deleted.
        async with self._transaction() as connection:
            over = await results_sql.over(connection, bounds, now, at_most=at_most)
            gone = await results_sql.long_deleted(connection, now, at_most=at_most)
        if over or gone:
            async with self._transaction(writes=True) as connection:
                await results_sql.remove(connection, over, gone)
        return len(over) + len(gone)

    async def keep_calls(self, calls: Sequence[CallRecord], usage: Sequence[Usage]) -> None:
        """Store helper calls and add to what was used, all or nothing."""
        async with self._transaction(writes=True) as connection:
            await calls_sql.keep(connection, calls, usage)

    async def calls(
        self,
        session_id: str,
        *,
        limit: int,
        after: str | None = None,
        execution_id: str | None = None,
        status: str | None = None,
    ) -> Sequence[CallRecord]:
        """Give a session's helper calls, newest first, from the one after id `after`."""
        async with self._transaction() as connection:
            return await calls_sql.find(
                connection, session_id, limit=limit, after=after, execution_id=execution_id, status=status
            )

    async def usage_of_session(self, session_id: str, since_hour: int) -> dict[int, Amounts]:
        """Give what helper calls of a session used, by hour, from an hour on."""
        async with self._transaction() as connection:
            return await calls_sql.used(connection, helper_usage.c.session_id == session_id, since_hour)

    async def usage_of_owner(self, owner: str, since_hour: int) -> dict[int, Amounts]:
        """The same for all sessions of an owner."""
        async with self._transaction() as connection:
            return await calls_sql.used(connection, helper_usage.c.owner == owner, since_hour)

    async def purge_calls(self, before: datetime, before_hour: int, *, at_most: int) -> int:
        """Delete calls that began before a moment and usage of hours before one, `at_most` calls. Give how many."""
        async with self._transaction() as connection:
            old = await calls_sql.old(connection, before, at_most=at_most)
        async with self._transaction(writes=True) as connection:
            await calls_sql.remove(connection, old[-1] if old else None, before_hour)
        return len(old)

    async def check(self) -> None:
        """Raise `StoreUnavailable` when the store does not answer."""
        async with self._transaction() as connection:
            await connection.execute(sa.select(sa.literal(1)))

    async def close(self) -> None:
        """Let go of the database."""
        async with asyncio.timeout(self._deadline_s):
            await self._engine.dispose()

    async def _mark(self, connection: AsyncConnection, owner: str, after: str) -> tuple[Any, Any]:
        query = sa.select(sessions.c.created_at).where(sessions.c.owner == owner, sessions.c.id == after)
        created_at = await connection.scalar(query)
        if created_at is None:
            raise NotFound(f"no session {after!r} to go on from")
        return sa.literal(created_at, sessions.c.created_at.type), sa.literal(after)

    async def _one(self, *conditions: sa.ColumnElement[bool]) -> Session | None:
        async with self._transaction() as connection:
            row = (await connection.execute(sa.select(*_COLUMNS).where(_ALIVE, *conditions))).first()
        return None if row is None else _session(row)

    @asynccontextmanager
    async def _transaction(self, *, writes: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction, under the deadline; foreign errors become ours."""
        try:
            async with asyncio.timeout(self._deadline_s), self._engine.connect() as connection:
                await connection.execution_options(writes=writes)
                async with connection.begin():
                    yield connection
        except sa.exc.IntegrityError:
            raise
        except self._foreign as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> StoreUnavailable:
        cause = getattr(error, "orig", None) or error
        words = (str(cause) or f"no answer within {self._deadline_s:g} s")[:500]
        # A server's words name its host and user; those of a file name nothing.
        told = f"the database is not available: {words}" if self._is_file else "the database is not available"
        return StoreUnavailable(
            told,
            inside=f"({self._where}: {type(cause).__name__}: {words})",
            suggested_fix="Check that the database runs and that nothing holds a lock on it.",
        )


def _foreign_errors(backend: str) -> tuple[type[Exception], ...]:
    errors: tuple[type[Exception], ...] = (sa.exc.SQLAlchemyError, OSError, TimeoutError)
    if backend == "postgresql":
        import asyncpg  # noqa: PLC0415 - an extra

        # The driver's own errors come through bare while it connects.
        errors += (asyncpg.PostgresError, asyncpg.InterfaceError)
    return errors


def _row(session: Session) -> dict[str, Any]:
    return {column.name: getattr(session, column.name) for column in _COLUMNS}


def _session(row: sa.Row[Any]) -> Session:
    return Session(**row._mapping)  # noqa: SLF001 - the documented way to a row's names
