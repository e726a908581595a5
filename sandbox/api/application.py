"""The ASGI application: routes, handlers and layers put together. Nothing is built at import."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from sandbox import __version__
from sandbox.api.calls import call_routes
from sandbox.api.errors import add_error_handlers
from sandbox.api.executions import execution_routes
from sandbox.api.file_routes import file_routes
from sandbox.api.file_uploads import upload_routes
from sandbox.api.mcp_door import McpDoor, mcp_routes
from sandbox.api.middleware import BodyLimit, RequestContext
from sandbox.api.mounts import mount_routes
from sandbox.api.objects import object_routes
from sandbox.api.openapi import add_documentation
from sandbox.api.operations import operations_routes
from sandbox.api.services import Services
from sandbox.api.sessions import session_routes
from sandbox.api.tool_router.routes import tool_router_routes

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_api(services: Services, lifespan: Lifespan) -> FastAPI:
    """Make the application over `services`; `lifespan` starts and stops what is below."""
    mcp = McpDoor(services)

    @asynccontextmanager
    async def with_mcp(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app), mcp.running():
            yield

    routers = (
        *tool_router_routes(),
        session_routes(),
        call_routes(),
        execution_routes(),
        operations_routes(),
        *mount_routes(),
        file_routes(),
        *upload_routes(),
        object_routes(),
        mcp_routes(mcp),
    )
    # FastAPI with the files of its documentation page served by us: many who host this have no way to a CDN.
    app = FastAPIOffline(
        # In one list: FastAPI asks each router that is included for every request, and what is in it twice.
        routes=[route for router in routers for route in router.routes],
        # It has metrics of its own, and none of a user's texts goes to a service of telemetry.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        title="Workbench",
        version=__version__,
        summary="Python and bash in a persistent sandbox per session.",
        lifespan=with_mcp,
        redoc_url=None,
    )
    app.state.services = services
    add_error_handlers(app)
    app.add_middleware(
        BodyLimit,
        max_bytes=services.max_body_bytes,
        max_upload_bytes=services.max_upload_bytes,
        seconds=services.request_timeout_s,
    )
    app.add_middleware(RequestContext, metrics=services.metrics)
    add_documentation(app, services.toolbox)
    return app
