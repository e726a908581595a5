"""What the modules of routes share: routes under a prefix, and the name of a session in a path."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.routing import APIRoute
from starlette.responses import Response

from sandbox.api.exact_route import ExactRoute

PREFIXES: Final = ("/api/v3", "/api/v3.1")
"""The versions of the Composio contract: all of its routes are under each."""

SESSION: Final = "/tool_router/session/{session_id}"

Ref = Annotated[
    str, Path(max_length=500, description="A session's id, or the label that it is known by, percent-encoded.")
]


class Routes:
    """Adds routes under a prefix; their operations are named after their handler and the version in the prefix.

    `route`: what they are made of.
    """

    def __init__(self, prefix: str, tag: str, route: type[APIRoute] = ExactRoute) -> None:
        # The router's own prefix: then a route knows its whole path, which is its name in log and metrics.
        self.router = APIRouter(prefix=prefix, tags=[tag], route_class=route)
        self._version = version_of(prefix).replace(".", "_")

    def add(self, method: str, path: str, handler: Callable[..., Any], summary: str, *, status: int = 200) -> None:
        """Add one."""
        self.router.add_api_route(
            path,
            handler,
            methods=[method],
            status_code=status,
            operation_id=f"{handler.__name__}_{self._version}",
            summary=summary,
            response_class=Response,
        )


def version_of(prefix: str) -> str:
    """Give the version that a prefix names: `v3.1` for what is under `/api/v3.1`."""
    return prefix.split("/")[2]
