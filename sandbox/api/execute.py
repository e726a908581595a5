"""The direct road of the Composio face: run one meta tool by its slug."""

from time import perf_counter
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from sandbox.api.connected import while_connected
from sandbox.api.services import Given, Owner
from sandbox.api.wire import json_response, optional_text, read_object
from sandbox.tools.base import Caller

PREFIXES = ("/api/v3", "/api/v3.1")


class ExecuteRequest(msgspec.Struct, frozen=True):
    """Body of a call. Other fields are accepted and ignored."""

    arguments: dict[str, Any]
    user_id: str | None = None


class ExecuteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of a call, also when the code that ran failed: then `successful` is false and `error` says why."""

    data: msgspec.Struct
    error: str | None
    successful: bool
    log_id: str
    session_info: None = None


def execute_routes() -> APIRouter:
    """Make the routes, the same under every prefix."""
    router = APIRouter(tags=["tools"])
    for prefix in PREFIXES:
        router.add_api_route(
            f"{prefix}/tools/execute/{{slug}}",
            execute_tool,
            methods=["POST"],
            operation_id=f"execute_tool_{prefix.removeprefix('/api/').replace('.', '_')}",
            summary="Run a meta tool",
            response_class=Response,
        )
    return router


async def execute_tool(slug: str, request: Request, owner: Owner, services: Given) -> Response:
    """Run Python (COMPOSIO_REMOTE_WORKBENCH) or bash (COMPOSIO_REMOTE_BASH_TOOL) in the session's sandbox.

    The session is the one of `arguments.session_id`, else of `user_id`, else the API key's default. What runs is
    interrupted when the client closes its connection.
    """
    tool = services.toolbox.find(slug)
    body = await read_object(request)
    services.metrics.stage("read", perf_counter() - request.scope["state"]["begun"])
    caller = Caller(owner, optional_text(body, "user_id"))
    arguments = body.get("arguments")
    result = await while_connected(request, tool.run(caller, {} if arguments is None else arguments))
    began = perf_counter()
    answer = json_response(
        ExecuteAnswer(data=result.data, error=result.error, successful=result.successful, log_id=result.log_id)
    )
    services.metrics.stage("encode", perf_counter() - began)
    return answer
