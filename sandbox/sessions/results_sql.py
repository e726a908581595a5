"""The SQL of stored executions; `SqlStore` gives the connections and the deadlines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from sandbox.sessions.record import ExecutionRecord
from sandbox.sessions.store import DELETED_SESSIONS_AGE, Retention
from sandbox.sessions.tables import executions, sessions

_COLUMNS = tuple(column for column in executions.c if column.name != "size")
_OF_LIVING = executions.join(sessions, (sessions.c.id == executions.c.session_id) & sessions.c.deleted_at.is_(None))
_NEWEST_FIRST = (executions.c.ended_at.desc(), executions.c.id.desc())


async def keep(connection: AsyncConnection, records: Sequence[ExecutionRecord], *, per_session: int) -> None:
    """Insert what is not there yet, of sessions that are not deleted; drop what their bound leaves out."""
    named = {record.session_id for record in records}
    # Shared locks: a deletion waits, and then finds what is inserted here.
    living = sa.select(sessions.c.id).where(sessions.c.id.in_(named), sessions.c.deleted_at.is_(None))
    alive = set(await connection.scalars(living.with_for_update(read=True)))
    rows = [_row(record) for record in records if record.session_id in alive]
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    await connection.execute(dialect.insert(executions).on_conflict_do_nothing(), rows)
    rank = sa.func.row_number().over(partition_by=executions.c.session_id, order_by=_NEWEST_FIRST).label("rank")
    ranked = sa.select(executions.c.id, rank).where(executions.c.session_id.in_(alive)).subquery()
    over = sa.select(ranked.c.id).where(ranked.c.rank > per_session)
    await connection.execute(executions.delete().where(executions.c.id.in_(over)))


async def find(connection: AsyncConnection, owner: str, execution_id: str) -> ExecutionRecord | None:
    """Give one of a session that is not deleted."""
    query = sa.select(*_COLUMNS).select_from(_OF_LIVING)
    row = (await connection.execute(query.where(executions.c.id == execution_id, executions.c.owner == owner))).first()
    return None if row is None else _record(row)


async def of_session(connection: AsyncConnection, session_id: str) -> list[ExecutionRecord]:
    """Give those of a session that is not deleted, in the order of their endings, newest first."""
    query = sa.select(*_COLUMNS).select_from(_OF_LIVING).where(executions.c.session_id == session_id)
    return [_record(row) for row in await connection.execute(query.order_by(*_NEWEST_FIRST))]


async def forget_sessions(connection: AsyncConnection, session_ids: Sequence[str]) -> None:
    """Delete all executions of some sessions."""
    await connection.execute(executions.delete().where(executions.c.session_id.in_(session_ids)))


async def over(connection: AsyncConnection, bounds: Retention, now: datetime, *, at_most: int) -> list[str]:
    """Give ids of executions that are too old, or that are too many, oldest first."""
    old = sa.select(executions.c.id).where(executions.c.ended_at < now - bounds.age)
    found = list(await connection.scalars(old.order_by(executions.c.ended_at).limit(at_most)))
    return found or await _beyond(connection, bounds, at_most)


async def long_deleted(connection: AsyncConnection, now: datetime, *, at_most: int) -> list[str]:
    """Give ids of sessions that were deleted long ago."""
    query = sa.select(sessions.c.id).where(sessions.c.deleted_at < now - DELETED_SESSIONS_AGE)
    return list(await connection.scalars(query.order_by(sessions.c.deleted_at).limit(at_most)))


async def remove(connection: AsyncConnection, execution_ids: Sequence[str], session_ids: Sequence[str]) -> None:
    """Delete executions, and sessions with all of theirs."""
    await connection.execute(executions.delete().where(executions.c.id.in_(execution_ids)))
    await forget_sessions(connection, session_ids)
    await connection.execute(
        sessions.delete().where(sessions.c.id.in_(session_ids), sessions.c.deleted_at.is_not(None))
    )


async def _beyond(connection: AsyncConnection, bounds: Retention, at_most: int) -> list[str]:
    """Give those beyond the bounds over all. Which ones is only asked when there are any: that reads a whole index."""
    totals = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(executions.c.size), 0))
    count, size = (await connection.execute(totals)).one()
    if count <= bounds.overall and size <= bounds.overall_bytes:
        return []
    rank = sa.func.row_number().over(order_by=_NEWEST_FIRST).label("rank")
    # By rows: the default frame of an ordered sum takes all that have the same place in the order.
    total = sa.func.sum(executions.c.size).over(order_by=_NEWEST_FIRST, rows=(None, 0)).label("total")
    ranked = sa.select(executions.c.id, rank, total).subquery()
    beyond = (ranked.c.rank > bounds.overall) | (ranked.c.total > bounds.overall_bytes)
    query = sa.select(ranked.c.id).where(beyond).order_by(ranked.c.rank.desc()).limit(at_most)
    return list(await connection.scalars(query))


def _row(record: ExecutionRecord) -> dict[str, Any]:
    # Not `asdict`, which copies all values: this runs on the event loop.
    return {column.name: getattr(record, column.name) for column in _COLUMNS} | {"size": len(record.result)}


def _record(row: sa.Row[Any]) -> ExecutionRecord:
    return ExecutionRecord(**row._mapping)  # noqa: SLF001 - the documented way to a row's names
