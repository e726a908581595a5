"""Which sessions stay in memory when there is not room for all."""

from datetime import UTC, datetime

import pytest

from sandbox.sessions.background import Background
from sandbox.sessions.catalog import Catalog
from sandbox.sessions.store_sql import SqlStore

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("by", ["id", "label", "link"])
async def test_a_session_that_was_just_asked_for_is_not_the_one_that_is_forgotten(store: SqlStore, by: str) -> None:
    catalog = Catalog(store, Background(), lambda: datetime.now(UTC), cached=2, touch_interval_s=60)
    used = await catalog.resolve("ann", "used", None)
    other = await catalog.resolve("ann", "other", None)
    if by == "link":
        await catalog.linked(used.id)
    else:
        await catalog.get("ann", used.id if by == "id" else "used")
    await catalog.resolve("ann", "third", None)

    # What is in memory is given as it is; what is not is read anew.
    assert await catalog.get("ann", used.id) is used
    read = await catalog.get("ann", other.id)
    assert (read.id, read is other) == (other.id, False)
