"""Tables of the store, and how they came to be: a list of versions, applied in order, never edited."""

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A moment, always in UTC, also where the database has no time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn it to UTC on the way in."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Say that it is UTC on the way out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData()

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("config_version", sa.Integer, nullable=False),
    sa.Column("sandbox_size", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.Column("last_used_at", UtcTime),
    sa.Column("deleted_at", UtcTime),
)

sandboxes = sa.Table(
    "sandboxes",
    metadata,
    sa.Column("sandbox_id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("installation", sa.Text, nullable=False),
    sa.Column("claimed_at", UtcTime, nullable=False),
)

schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("applied_at", UtcTime, nullable=False),
)

CREATE_SCHEMA_VERSION: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
  version INTEGER PRIMARY KEY,
  applied_at TIMESTAMP WITH TIME ZONE NOT NULL
)
"""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE sessions (
          id TEXT PRIMARY KEY,
          owner TEXT NOT NULL,
          name TEXT,
          user_id TEXT,
          config JSON NOT NULL,
          config_version INTEGER NOT NULL,
          sandbox_size TEXT NOT NULL,
          created_at TIMESTAMP WITH TIME ZONE NOT NULL,
          updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
          last_used_at TIMESTAMP WITH TIME ZONE,
          deleted_at TIMESTAMP WITH TIME ZONE
        )
        """,
        "CREATE UNIQUE INDEX sessions_by_name ON sessions (owner, name) WHERE deleted_at IS NULL",
        "CREATE INDEX sessions_by_age ON sessions (owner, created_at, id)",
    ),
    (
        """
        CREATE TABLE sandboxes (
          sandbox_id TEXT PRIMARY KEY,
          session_id TEXT NOT NULL,
          installation TEXT NOT NULL,
          claimed_at TIMESTAMP WITH TIME ZONE NOT NULL
        )
        """,
        "CREATE INDEX sandboxes_by_installation ON sandboxes (installation, claimed_at)",
    ),
)
"""SQL that both SQLite and PostgreSQL take; the version of a schema is how many of these it has."""
