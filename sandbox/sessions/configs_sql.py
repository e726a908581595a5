"""The configurations of a session and their versions, in a SQL database."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sandbox.sessions.session import Session
from sandbox.sessions.store import ConfigVersion
from sandbox.sessions.tables import session_configs, sessions

VERSIONS_MAX: Final = 1000
"""Earlier versions that are kept of one session."""


async def replace(connection: AsyncConnection, old: Session, new: Session) -> bool:
    """Store the configuration of `new` in the place of that of `old`. Whether it still was that one."""
    changed = await connection.execute(
        sessions.update()
        .where(
            sessions.c.id == old.id,
            sessions.c.owner == old.owner,
            sessions.c.config_version == old.config_version,
            sessions.c.deleted_at.is_(None),
        )
        .values(
            config=new.config,
            config_version=new.config_version,
            sandbox_size=new.sandbox_size,
            updated_at=new.updated_at,
        )
    )
    if changed.rowcount == 0:
        return False
    row = {"session_id": old.id, "version": old.config_version, "config": old.config, "ended_at": new.updated_at}
    await connection.execute(session_configs.insert().values(**row))
    await connection.execute(
        session_configs.delete().where(
            session_configs.c.session_id == old.id,
            session_configs.c.version <= old.config_version - VERSIONS_MAX,
        )
    )
    return True


async def earlier(
    connection: AsyncConnection, session_id: str, *, limit: int, before: int | None
) -> list[ConfigVersion]:
    """Give the versions that a session had, newest first; those before a version when one is named."""
    query = sa.select(session_configs.c.version, session_configs.c.config, session_configs.c.ended_at)
    query = query.where(session_configs.c.session_id == session_id)
    if before is not None:
        query = query.where(session_configs.c.version < before)
    rows = await connection.execute(query.order_by(session_configs.c.version.desc()).limit(limit))
    return [ConfigVersion(*row) for row in rows]


async def count(connection: AsyncConnection, session_id: str) -> int:
    """Say how many earlier versions are kept of a session."""
    query = sa.select(sa.func.count()).where(session_configs.c.session_id == session_id)
    return await connection.scalar(query) or 0


async def forget_sessions(connection: AsyncConnection, session_ids: Sequence[str]) -> None:
    """Delete the versions of sessions."""
    await connection.execute(session_configs.delete().where(session_configs.c.session_id.in_(session_ids)))
