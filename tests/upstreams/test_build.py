"""All upstreams together."""

import asyncio

import pytest

from sandbox.upstreams.base import Upstreams
from sandbox.upstreams.build import close_upstreams
from tests.gateway.conftest import ToolSource, echo

pytestmark = pytest.mark.anyio


class Clinging(ToolSource):
    """One that cannot be closed."""

    async def aclose(self) -> None:
        raise ValueError("not now")


class Closing(ToolSource):
    """One that takes a moment."""

    closed = False

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed = True


async def test_an_upstream_that_cannot_be_closed_keeps_no_other_from_it() -> None:
    others = [Closing(echo), Closing(echo)]
    await close_upstreams(Upstreams(tools=(others[0], Clinging(echo), others[1])))
    assert [other.closed for other in others] == [True, True]
