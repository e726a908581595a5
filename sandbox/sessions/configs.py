"""The configurations of sessions: how one is changed, and what a session had before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sandbox.sessions.catalog import Catalog
from sandbox.sessions.session import Session
from sandbox.sessions.session_config import changed_config, read_config
from sandbox.sessions.store import ConfigVersion, Store


@dataclass(frozen=True, slots=True)
class EarlierConfigs:
    """Some of the versions before the one that a session has, newest first. `total`: how many are kept of them."""

    versions: Sequence[ConfigVersion]
    total: int


class Configs:
    """Changes configurations and keeps their versions. `changed` is told of each session that has a new one."""

    def __init__(
        self, catalog: Catalog, store: Store, clock: Callable[[], datetime], *, changed: Callable[[Session], None]
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._changed = changed

    async def change(
        self, owner: str, session_id: str, change: Mapping[str, Any], *, expected_version: int | None = None
    ) -> Session:
        """Change a session's configuration as `changed_config` says, and give the session as it is then.

        Raises:
            InvalidRequest: names the key that is wrong.
            Conflict: its version is not the expected one.
            NotFound: there is no such session.
            StoreUnavailable: the store does not answer.
        """

        def next_version(old: Session) -> Session:
            config = read_config(changed_config(old.config, change), at="")
            return replace(
                old,
                config=config.as_json(),
                config_version=old.config_version + 1,
                sandbox_size=config.workbench.sandbox_size,
                updated_at=self._clock(),
            )

        session = await self._catalog.get(owner, session_id)
        new = await self._catalog.change(session, next_version, expected_version)
        self._changed(new)
        return new

    def newest(self, session: Session) -> Session:
        """Give a session with the configuration that it has now."""
        return self._catalog.newest(session)

    async def earlier(self, session: Session, *, limit: int, before: int | None) -> EarlierConfigs:
        """Give versions that the session had, from the one before version `before`. Raises `StoreUnavailable`."""
        versions = await self._store.earlier_configs(session.id, limit=limit, before=before) if limit else ()
        return EarlierConfigs(versions, await self._store.count_earlier_configs(session.id))
