"""For those who run the server: is it alive, is it ready, what does it count."""

import ipaddress
from typing import Final

import anyio
import msgspec
import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from sandbox.api.services import Check, Given, owner_of
from sandbox.api.wire import json_response
from sandbox.errors import WorkbenchError
from sandbox.metrics import CONTENT_TYPE

log = structlog.get_logger(__name__)

CHECK_DEADLINE_S: Final = 5.0


class Health(msgspec.Struct, frozen=True):
    """`status` is `ok` or `unavailable`; `checks` says by name what each part answered."""

    status: str
    checks: dict[str, str] = {}


def operations_routes() -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["operations"])
    router.add_api_route("/healthz", healthz, methods=["GET"], summary="Is the process alive")
    router.add_api_route("/readyz", readyz, methods=["GET"], summary="Can it serve")
    router.add_api_route("/metrics", metrics, methods=["GET"], summary="Metrics in Prometheus' text form")
    return router


async def healthz() -> Response:
    """Answer as long as the process is alive. Needs no key."""
    return json_response(Health("ok"))


async def readyz(services: Given) -> Response:
    """Answer 503, naming what is missing, until engine and store answer. Needs no key."""
    said: dict[str, str] = {}
    failed: set[str] = set()

    async def ask(name: str, check: Check) -> None:
        words = await _ask(name, check)
        said[name] = words or "ok"
        if words is not None:
            failed.add(name)

    async with anyio.create_task_group() as group:
        for name, check in services.checks.items():
            group.start_soon(ask, name, check)
    return json_response(Health("unavailable" if failed else "ok", said), status_code=503 if failed else 200)


async def metrics(request: Request, services: Given) -> Response:
    """Give all metrics. Needs a key, except from this machine."""
    if not _from_loopback(request):
        owner_of(request, services)
    return Response(services.metrics.text(), headers={"content-type": CONTENT_TYPE})


async def _ask(name: str, check: Check) -> str | None:
    """What is wrong, in words; None when nothing is. The log has more of it: anybody may ask here."""
    try:
        with anyio.fail_after(CHECK_DEADLINE_S):
            await check()
    except WorkbenchError as error:
        log.warning("not ready", check=name, error=str(error))
        return error.message
    except TimeoutError:
        return f"no answer within {CHECK_DEADLINE_S:g} s"
    return None


def _from_loopback(request: Request) -> bool:
    """Whether the connection itself comes from this machine; headers of proxies are not believed."""
    if request.client is None or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
