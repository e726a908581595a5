"""What the API's documentation says of the Composio face."""

import httpx

from sandbox.api.tool_router.routes import tool_router_shapes
from sandbox.api.tool_router.routing import PREFIXES


def test_every_route_is_documented_with_its_shapes_under_every_prefix(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for (method, path), (body, answer) in tool_router_shapes().items():
        operation = document["paths"][path][method]
        content = "application/json"
        if body is not None:
            reference = operation["requestBody"]["content"][content]["schema"]["$ref"]
            assert reference.rpartition("/")[2] == body.__name__
        assert answer is not None
        status = next(status for status in operation["responses"] if status.startswith("2"))
        assert operation["responses"][status]["content"][content]["schema"]["$ref"].endswith(f"/{answer.__name__}")
        assert answer.__name__ in schemas
        assert operation["responses"]["default"]["content"][content]["schema"]["$ref"].endswith("/Envelope")


def test_operations_have_names_of_their_own(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    names = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(names) == len(set(names))
    assert {path.removeprefix(PREFIXES[0]) for path in paths if path.startswith(PREFIXES[0] + "/")} >= {
        path.removeprefix(PREFIXES[1]) for path in paths if path.startswith(PREFIXES[1] + "/")
    }
