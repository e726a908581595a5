"""The API's documentation: what FastAPI knows of the routes, and the shapes that msgspec knows."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sandbox.api.calls import CallList
from sandbox.api.errors import Envelope
from sandbox.api.executions import ExecutionItem, ExecutionList, StartRequest
from sandbox.api.file_routes import SHAPES as FILE_SHAPES
from sandbox.api.file_routes import SIGNED
from sandbox.api.file_uploads import EXAMPLES as UPLOAD_EXAMPLES
from sandbox.api.file_uploads import SHAPES as UPLOAD_SHAPES
from sandbox.api.mounts import EXAMPLES as MOUNT_EXAMPLES
from sandbox.api.mounts import SHAPES as MOUNT_SHAPES
from sandbox.api.objects import OBJECT, ObjectItem
from sandbox.api.operations import Health
from sandbox.api.sessions import CreateSession, Deleted, Interrupted, KernelItem, SessionDetail, SessionList
from sandbox.api.tool_router.direct import ExecuteAnswer, ExecuteRequest
from sandbox.api.tool_router.routes import tool_router_shapes
from sandbox.api.wire import JSON, schema_of
from sandbox.tools.registry import Toolbox

_SECURITY: Final = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", SIGNED, OBJECT})

_EXECUTE_EXAMPLES: Final = {
    "python": {
        "summary": "COMPOSIO_REMOTE_WORKBENCH",
        "value": {"arguments": {"code_to_execute": "x = 6 * 7\nx", "timeout": 60, "session_id": "report"}},
    },
    "bash": {
        "summary": "COMPOSIO_REMOTE_BASH_TOOL",
        "value": {"arguments": {"command": "ls -la", "session_id": "report"}},
    },
}
_START_EXAMPLES: Final = {
    "python": {"summary": "Python", "value": {"code": "for n in range(3):\n    print(n)"}},
    "bash": {"summary": "bash", "value": {"command": "sleep 1; date", "timeout": 30}},
}
_CREATE_EXAMPLES: Final = {
    "rules": {
        "summary": "Two toolkits, one tool of one of them, no proxy",
        "value": {
            "label": "report",
            "config": {
                "toolkits": {"enable": ["time", "github"]},
                "tools": {"github": {"enable": ["GITHUB_GET_REPO"]}},
                "workbench": {"enable_proxy_execution": False},
                "helpers": {"disable": ["web_search"]},
            },
        },
    },
}
_EXAMPLES: Final[dict[type, dict[str, Any]]] = {
    ExecuteRequest: _EXECUTE_EXAMPLES,
    StartRequest: _START_EXAMPLES,
    CreateSession: _CREATE_EXAMPLES,
    **MOUNT_EXAMPLES,
    **UPLOAD_EXAMPLES,
}
_ANSWER_EXAMPLE: Final = {
    "data": {
        "results": "42",
        "stdout": "",
        "stderr": "",
        "error": "",
        "sandbox_id_suffix": "k3xq",
        "session": {"id": "trs_8hQ2mB4nV7xZ1cK9sD", "instructions": "Pass session_id ..."},
    },
    "error": None,
    "successful": True,
    "log_id": "log_5f0c9a7e3b1d2468",
    "session_info": None,
}

_EVENT: Final = {
    "type": "object",
    "description": "Each event of the stream",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
_TEXTS: Final = {
    "/metrics": {"text/plain": {"schema": {"type": "string"}}},
    "/v1/executions/{execution_id}/events": {"text/event-stream": {"schema": _EVENT}},
}
"""By path: answers that are no JSON."""

# By method and path template: body, answer, and examples of the body.
_SHAPES: Final[dict[tuple[str, str], tuple[type | None, type | None]]] = {
    **tool_router_shapes(),
    ("post", "/v1/sessions"): (CreateSession, SessionDetail),
    ("get", "/v1/sessions"): (None, SessionList),
    ("get", "/v1/sessions/{ref}"): (None, SessionDetail),
    ("delete", "/v1/sessions/{ref}"): (None, Deleted),
    ("get", "/v1/sessions/{ref}/calls"): (None, CallList),
    ("post", "/v1/sessions/{ref}/interrupt"): (None, Interrupted),
    ("post", "/v1/sessions/{ref}/restart_kernel"): (None, KernelItem),
    ("post", "/v1/sessions/{ref}/executions"): (StartRequest, ExecutionItem),
    ("get", "/v1/sessions/{ref}/executions"): (None, ExecutionList),
    ("get", "/v1/executions/{execution_id}"): (None, ExecutionItem),
    ("post", "/v1/executions/{execution_id}/interrupt"): (None, ExecutionItem),
    **MOUNT_SHAPES,
    **FILE_SHAPES,
    **UPLOAD_SHAPES,
    ("put", OBJECT): (None, ObjectItem),
    ("get", "/healthz"): (None, Health),
    ("get", "/readyz"): (None, Health),
}


def add_documentation(app: FastAPI, toolbox: Toolbox) -> None:
    """Make `/openapi.json` and `/docs` show shapes, errors and keys. Composed at the first request for it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _compose(app, toolbox)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI documents


def _compose(app: FastAPI, toolbox: Toolbox) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    types = [kind for pair in _SHAPES.values() for kind in pair if kind is not None]
    tools = [kind for tool in toolbox for kind in (tool.arguments_type, tool.data_type)]
    parts = schema_of(*dict.fromkeys([*types, *tools, Envelope]))
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(parts)
    components["securitySchemes"] = _SECURITY
    _name_tool_shapes(components["schemas"], toolbox)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _describe(operation, method, path)
    return document


def _name_tool_shapes(schemas: dict[str, Any], toolbox: Toolbox) -> None:
    """`arguments` and `data` are one of the tools' own shapes; their structs only say 'an object'."""
    for holder, name, attribute in (
        ("ExecuteRequest", "arguments", "arguments_type"),
        ("ExecuteAnswer", "data", "data_type"),
        ("SessionExecuteAnswer", "data", "data_type"),
        ("ExecutionItem", "data", "data_type"),
    ):
        shapes: list[dict[str, Any]] = [_reference(getattr(tool, attribute)) for tool in toolbox]
        if holder != "ExecutionItem":
            shapes.append({"type": "object", "description": "Of a toolkit's tool: as its own schema says"})
        schemas[holder]["properties"][name] = {"anyOf": shapes}


def _describe(operation: dict[str, Any], method: str, path: str) -> None:
    """Add body, answer, errors and keys to one operation."""
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = {
        "description": "What went wrong",
        "content": {JSON: {"schema": _reference(Envelope)}},
    }
    if path in _TEXTS:
        responses["200"]["content"] = _TEXTS[path]
    if path not in _OPEN_PATHS:
        operation["security"] = [{name: []} for name in _SECURITY]
    body, answer = _SHAPES.get((method, path), (None, None))
    if body is not None:
        content: dict[str, Any] = {"schema": _reference(body)}
        if body in _EXAMPLES:
            content["examples"] = _EXAMPLES[body]
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    if answer is not None:
        content = {"schema": _reference(answer)}
        if answer is ExecuteAnswer:
            content["example"] = _ANSWER_EXAMPLE
        for status, response in responses.items():
            if status != "default":
                response["content"] = {JSON: content}


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
