"""The routes that execute: what a handler is given is looked up once, not resolved for each request.

FastAPI's resolution of dependencies and parameters takes as long as all that this service does itself until the
sandbox is asked. Documentation, errors and the handler's signature are those of any other route.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from sandbox.api.exact_route import ExactRoute
from sandbox.api.services import Services, owner_of

_GIVEN: Final = frozenset({"request", "owner", "services"})

_SHORT: Final = 200
"""Characters of a text in a path that break no rule of a parameter; FastAPI checks a longer one."""


class LeanRoute(ExactRoute):
    """Its handler takes `request`, `owner`, `services` and texts of the path, all or some of them, and nothing else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Make what answers a request.

        Raises:
            TypeError: the handler takes something else.
        """
        whole = super().get_route_handler()
        handler = self.endpoint
        wanted = set(inspect.signature(handler).parameters)
        if other := wanted - _GIVEN - set(self.param_convertors):
            raise TypeError(f"{handler.__name__} takes {', '.join(sorted(other))}, which a lean route does not know")

        async def answer(request: Request) -> Response:
            texts = request.path_params
            if any(len(text) > _SHORT for text in texts.values()):
                return await whole(request)
            services: Services = request.app.state.services
            owner = owner_of(request, services)
            response: Response = await handler(request=request, owner=owner, services=services, **texts)
            return response

        return answer
