"""All routes of the Composio face under every prefix, and the shapes of their bodies and answers."""

from typing import Final

from fastapi import APIRouter

from sandbox.api.tool_router.catalog import ToolPage
from sandbox.api.tool_router.catalog import routes as catalog_routes
from sandbox.api.tool_router.connections import LinkAnswer, LinkRequest, ToolkitPage
from sandbox.api.tool_router.connections import routes as connection_routes
from sandbox.api.tool_router.direct import DirectProxyRequest, ExecuteAnswer, ExecuteRequest, ProxyAnswerItem
from sandbox.api.tool_router.direct import routes as direct_routes
from sandbox.api.tool_router.execution import (
    ExecuteMetaRequest,
    SearchRequest,
    SessionExecuteAnswer,
    SessionExecuteRequest,
    SessionProxyAnswer,
)
from sandbox.api.tool_router.execution import routes as execution_routes
from sandbox.api.tool_router.items import CatalogItem
from sandbox.api.tool_router.requests import AttachRequest, ChangeSessionRequest, CreateSessionRequest
from sandbox.api.tool_router.routing import PREFIXES, SESSION
from sandbox.api.tool_router.sessions import ConfigHistory, SessionAnswer, SessionDeleted
from sandbox.api.tool_router.sessions import routes as session_routes
from sandbox.tools.proxy_execute import ProxyRequest
from sandbox.tools.search_shapes import SearchData

Shape = tuple[type | None, type | None]

_SHAPES: Final[dict[tuple[str, str], Shape]] = {
    ("post", "/tool_router/session"): (CreateSessionRequest, SessionAnswer),
    ("get", SESSION): (None, SessionAnswer),
    ("patch", SESSION): (ChangeSessionRequest, SessionAnswer),
    ("delete", SESSION): (None, SessionDeleted),
    ("post", f"{SESSION}/attach"): (AttachRequest, SessionAnswer),
    ("get", f"{SESSION}/config_history"): (None, ConfigHistory),
    ("get", f"{SESSION}/toolkits"): (None, ToolkitPage),
    ("post", f"{SESSION}/link"): (LinkRequest, LinkAnswer),
    ("get", f"{SESSION}/tools"): (None, ToolPage),
    ("get", "/tools"): (None, ToolPage),
    ("get", "/tools/{slug}"): (None, CatalogItem),
    ("post", f"{SESSION}/execute"): (SessionExecuteRequest, SessionExecuteAnswer),
    ("post", f"{SESSION}/execute_meta"): (ExecuteMetaRequest, SessionExecuteAnswer),
    ("post", f"{SESSION}/search"): (SearchRequest, SearchData),
    ("post", f"{SESSION}/proxy_execute"): (ProxyRequest, SessionProxyAnswer),
    ("post", "/tools/execute/{slug}"): (ExecuteRequest, ExecuteAnswer),
    ("post", "/tools/execute/proxy"): (DirectProxyRequest, ProxyAnswerItem),
}
"""By method and path: body and answer."""


def tool_router_routes() -> list[APIRouter]:
    """Make all routes, the same under every prefix; those that execute come first."""
    parts = (direct_routes, execution_routes, session_routes, connection_routes, catalog_routes)
    return [routes(prefix) for routes in parts for prefix in PREFIXES]


def tool_router_shapes() -> dict[tuple[str, str], Shape]:
    """Give body and answer of each route, by method and path template."""
    return {(method, prefix + path): shape for prefix in PREFIXES for (method, path), shape in _SHAPES.items()}
