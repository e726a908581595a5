"""The database engine for a URL: SQLite by default, PostgreSQL by URL. No password in any text."""

import importlib.util
import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sandbox.errors import ConfigurationError

_ACCEPTED = "sqlite:///path/to/file.db, postgresql://user:password@host/database"

_FILE = "file"
"""Where a connection notes which file it is on: path, device, inode."""

_QUERY_NAMES = {"sslmode": "ssl", "host": "host", "port": "port"}
"""Parameters of a PostgreSQL URL, and what the driver calls them."""


def parse(url: str) -> URL:
    """Read a database URL and name its asynchronous driver.

    Raises:
        ConfigurationError: it cannot be read, names another database, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The library's own message would carry the URL, and with it the password.
        raise ConfigurationError(
            "the database URL cannot be read", suggested_fix=f"Write it like one of: {_ACCEPTED}."
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed)
        case "postgresql" | "postgres":
            return _postgresql(parsed)
        case other:
            raise ConfigurationError(
                f"the database {other!r} is not supported", suggested_fix=f"Use one of: {_ACCEPTED}."
            )


def build(url: URL, *, deadline_s: float) -> AsyncEngine:
    """Make the engine; it connects when it is first used. Raises `ConfigurationError` for a path that cannot be."""
    common: dict[str, Any] = {"hide_parameters": True, "pool_timeout": deadline_s}
    if url.get_backend_name() == "sqlite":
        _prepare_file(Path(url.database or ""))
        engine = create_async_engine(
            url, pool_size=4, max_overflow=0, connect_args={"timeout": deadline_s / 2}, **common
        )
        event.listen(engine.sync_engine, "do_connect", _sqlite_connects)
        event.listen(engine.sync_engine, "connect", _sqlite_connected)
        event.listen(engine.sync_engine, "checkout", _sqlite_taken)
        event.listen(engine.sync_engine, "begin", _sqlite_begins)
        return engine
    return create_async_engine(
        url,
        pool_size=5,
        max_overflow=5,
        pool_pre_ping=True,
        connect_args={"timeout": deadline_s / 2, "command_timeout": deadline_s},
        **common,
    )


def _sqlite(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError(
            "the database URL names no file", suggested_fix="Write it like sqlite:///path/to/file.db."
        )
    return url.set(drivername="sqlite+aiosqlite")


def _postgresql(url: URL) -> URL:
    if importlib.util.find_spec("asyncpg") is None:
        raise ConfigurationError(
            "PostgreSQL needs the driver asyncpg, which is not installed",
            suggested_fix="pip install 'workbench[postgres]'",
        )
    query = {_QUERY_NAMES.get(name, name): value for name, value in url.query.items()}
    if unknown := sorted(set(query) - set(_QUERY_NAMES.values())):
        raise ConfigurationError(
            f"the database URL has the parameter {unknown[0]!r}, which is not supported",
            suggested_fix=f"Leave it out; {', '.join(_QUERY_NAMES)} are supported.",
        )
    return url.set(drivername="postgresql+asyncpg", query=query)


def _prepare_file(path: Path) -> None:
    """Make the file before SQLite does, readable by its owner only: its journal files take its mode over."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the database file {path} cannot be made or opened: {error.strerror}",
            suggested_fix="Name a file in a folder that this user may write to.",
        ) from error


def _sqlite_connects(_dialect: Any, record: Any, arguments: list[Any], _options: Any) -> None:
    """Refuse to make the file anew: it was made at the start, and all sessions are in it."""
    record.info[_FILE] = _identity(arguments[0])


def _sqlite_taken(_connection: Any, record: Any, _proxy: Any) -> None:
    """Let go of a connection to a file that is not at its path any more: what it writes nobody would ever find."""
    path, *_ = record.info[_FILE]
    if _identity(path) != record.info[_FILE]:
        raise sa.exc.DisconnectionError("the database file was replaced")


def _identity(path: str) -> tuple[str, int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise sa.exc.DBAPIError(None, None, OSError(f"the database file is gone: {error.strerror}")) from error
    return path, found.st_dev, found.st_ino


def _sqlite_connected(connection: Any, _record: Any) -> None:
    # We begin transactions ourselves: the driver's own way begins them too late for reads and tables.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Switch the file to its write-ahead log.

    Two that switch a new file at the same moment wait for each other, each with a lock that the other one needs. Short
    waits of different lengths, again and again, end that; one long wait is a failure.
    """
    cursor.execute("PRAGMA busy_timeout")
    (wait_ms,) = cursor.fetchone()
    deadline = time.monotonic() + wait_ms / 1000
    while True:
        cursor.execute(f"PRAGMA busy_timeout = {20 + secrets.randbelow(180)}")
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        else:
            cursor.execute(f"PRAGMA busy_timeout = {wait_ms}")
            return


def _sqlite_begins(connection: sa.Connection) -> None:
    # A transaction that will write takes the lock first: one that waits for it half way can only fail.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
