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

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("timeout_s", sa.Double, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime, nullable=False),
    sa.Column("sandbox_suffix", sa.Text, nullable=False),
    sa.Column("recreated", sa.Text),
    sa.Column("last_event", sa.Integer, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
)
"""Executions that have ended; never what they ran. `size`: bytes of `result`."""

helper_calls = sa.Table(
    "helper_calls",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("execution_id", sa.Text),
    sa.Column("helper", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("request_bytes", sa.BigInteger, nullable=False),
    sa.Column("answer_bytes", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("duration_ms", sa.Double, nullable=False),
    sa.Column("arguments", sa.Text),
)
"""The audit of helper calls. Ids sort by the time of the call; `arguments` only when a setting says so."""

helper_usage = sa.Table(
    "helper_usage",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("model_chars", sa.BigInteger, nullable=False),
    sa.Column("upload_bytes", sa.BigInteger, nullable=False),
)
"""What helper calls of a session used in an hour (hours since 1970), so that budgets survive a restart."""

session_configs = sa.Table(
    "session_configs",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("ended_at", UtcTime, nullable=False),
)
"""Configurations that sessions had before the one they have; `ended_at`: when the next one took its place."""

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
    (
        """
        CREATE TABLE executions (
          id TEXT PRIMARY KEY,
          session_id TEXT NOT NULL,
          owner TEXT NOT NULL,
          kind TEXT NOT NULL,
          timeout_s DOUBLE PRECISION NOT NULL,
          created_at TIMESTAMP WITH TIME ZONE NOT NULL,
          ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
          sandbox_suffix TEXT NOT NULL,
          recreated TEXT,
          last_event INTEGER NOT NULL,
          result BYTEA NOT NULL,
          size INTEGER NOT NULL
        )
        """,
        "CREATE INDEX executions_by_session ON executions (session_id, ended_at, id)",
        "CREATE INDEX executions_by_end ON executions (ended_at, id, size)",
        "CREATE INDEX sessions_by_deletion ON sessions (deleted_at) WHERE deleted_at IS NOT NULL",
    ),
    (
        """
        CREATE TABLE helper_calls (
          id TEXT PRIMARY KEY,
          session_id TEXT NOT NULL,
          owner TEXT NOT NULL,
          execution_id TEXT,
          helper TEXT NOT NULL,
          target TEXT NOT NULL,
          status TEXT NOT NULL,
          request_bytes BIGINT NOT NULL,
          answer_bytes BIGINT NOT NULL,
          attempts INTEGER NOT NULL,
          started_at TIMESTAMP WITH TIME ZONE NOT NULL,
          duration_ms DOUBLE PRECISION NOT NULL,
          arguments TEXT
        )
        """,
        "CREATE INDEX helper_calls_by_session ON helper_calls (session_id, id)",
        """
        CREATE TABLE helper_usage (
          session_id TEXT NOT NULL,
          hour BIGINT NOT NULL,
          owner TEXT NOT NULL,
          calls BIGINT NOT NULL,
          model_chars BIGINT NOT NULL,
          upload_bytes BIGINT NOT NULL,
          PRIMARY KEY (session_id, hour)
        )
        """,
        "CREATE INDEX helper_usage_by_owner ON helper_usage (owner, hour)",
    ),
    (
        """
        CREATE TABLE session_configs (
          session_id TEXT NOT NULL,
          version INTEGER NOT NULL,
          config JSON NOT NULL,
          ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
          PRIMARY KEY (session_id, version)
        )
        """,
    ),
)
"""SQL that both SQLite and PostgreSQL take; the version of a schema is how many of these it has."""
