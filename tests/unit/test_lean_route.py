"""What a lean route accepts as a handler."""

import pytest
from fastapi import APIRouter, Request
from starlette.responses import Response

from sandbox.api.lean_route import LeanRoute
from sandbox.api.services import Given, Owner


async def of_path(name: str, request: Request, owner: Owner, services: Given) -> Response:
    return Response(name)


async def of_query(request: Request, limit: int = 3) -> Response:
    return Response(str(limit))


def test_a_handler_gets_texts_of_its_path_and_what_all_handlers_get() -> None:
    router = APIRouter(route_class=LeanRoute)
    router.add_api_route("/{name}", of_path, response_class=Response)
    assert [route.path for route in router.routes if isinstance(route, LeanRoute)] == ["/{name}"]


def test_a_handler_that_wants_more_is_refused_when_the_route_is_made() -> None:
    router = APIRouter(route_class=LeanRoute)
    with pytest.raises(TypeError, match="of_query takes limit"):
        router.add_api_route("/", of_query, response_class=Response)
