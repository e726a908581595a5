"""A runtime that outlives the managers that use it."""

from typing import Any, cast

from sandbox.runtimes.base import Runtime


class Borrowed:
    """A runtime that a manager may not close: others use it afterwards."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    async def close(self) -> None:
        """Leave it open."""


def borrowed(runtime: Runtime) -> Runtime:
    """Give a runtime to a manager that may not close it."""
    return cast("Runtime", Borrowed(runtime))
