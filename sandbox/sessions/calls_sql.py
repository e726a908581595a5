"""The SQL of the audit of helper calls; `SqlStore` gives the connections and the deadlines."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from sandbox.sessions import ids
from sandbox.sessions.call_record import Amounts, CallRecord, Usage
from sandbox.sessions.tables import helper_calls, helper_usage

_FIELDS: Final = tuple(field.name for field in fields(CallRecord))
_US: Final = 1_000_000


async def keep(connection: AsyncConnection, records: Sequence[CallRecord], usage: Sequence[Usage]) -> None:
    """Insert calls and add to what was used."""
    if records:
        rows = [{name: getattr(record, name) for name in _FIELDS} for record in records]
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        # One that is there already: its commit was not heard of.
        await connection.execute(dialect.insert(helper_calls).on_conflict_do_nothing(), rows)
    if usage:
        await _add(connection, usage)


async def find(
    connection: AsyncConnection,
    session_id: str,
    *,
    limit: int,
    after: str | None,
    execution_id: str | None,
    status: str | None,
) -> list[CallRecord]:
    """Give a session's calls, newest first."""
    query = sa.select(helper_calls).where(helper_calls.c.session_id == session_id)
    for column, value in ((helper_calls.c.execution_id, execution_id), (helper_calls.c.status, status)):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(helper_calls.c.id < after)
    rows = await connection.execute(query.order_by(helper_calls.c.id.desc()).limit(limit))
    return [CallRecord(**row._mapping) for row in rows]  # noqa: SLF001 - the documented way to a row's names


async def used(connection: AsyncConnection, condition: sa.ColumnElement[bool], since_hour: int) -> dict[int, Amounts]:
    """Give what was used, by hour."""
    sums = [sa.func.sum(helper_usage.c[name]) for name in ("calls", "model_chars", "upload_bytes")]
    query = sa.select(helper_usage.c.hour, *sums).where(condition, helper_usage.c.hour >= since_hour)
    rows = await connection.execute(query.group_by(helper_usage.c.hour))
    return {hour: Amounts(*map(int, amounts)) for hour, *amounts in rows}


async def old(connection: AsyncConnection, before: datetime, *, at_most: int) -> list[str]:
    """Give ids of calls that began before a moment, oldest first."""
    first_kept = ids.helper_call_id(int(before.timestamp() * _US))
    query = sa.select(helper_calls.c.id).where(helper_calls.c.id < first_kept).order_by(helper_calls.c.id)
    return list(await connection.scalars(query.limit(at_most)))


async def remove(connection: AsyncConnection, last_id: str | None, before_hour: int) -> None:
    """Delete all calls up to an id, and usage of hours before one."""
    if last_id is not None:
        await connection.execute(helper_calls.delete().where(helper_calls.c.id <= last_id))
    await connection.execute(helper_usage.delete().where(helper_usage.c.hour < before_hour))


async def _add(connection: AsyncConnection, usage: Sequence[Usage]) -> None:
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(helper_usage)
    sums = {name: helper_usage.c[name] + insert.excluded[name] for name in ("calls", "model_chars", "upload_bytes")}
    rows = [
        {
            "session_id": each.session_id,
            "hour": each.hour,
            "owner": each.owner,
            "calls": each.amounts.calls,
            "model_chars": each.amounts.model_chars,
            "upload_bytes": each.amounts.upload_bytes,
        }
        # In one order, so that two controllers never wait for each other's rows.
        for each in sorted(usage, key=lambda each: (each.session_id, each.hour))
    ]
    await connection.execute(insert.on_conflict_do_update(index_elements=["session_id", "hour"], set_=sums), rows)
