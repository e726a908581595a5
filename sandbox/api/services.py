"""What the routes are given: everything below them, built elsewhere, and who is asking."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from sandbox.api.keys import KeyRing
from sandbox.api.once import Once
from sandbox.gateway.audit import Audit
from sandbox.gateway.directory import Directory
from sandbox.gateway.gateway import Gateway
from sandbox.metrics import Metrics
from sandbox.sessions.manager import SessionManager
from sandbox.tools.registry import Toolbox
from sandbox.tools.run_one import OneTool
from sandbox.upstreams.base import Connect, Objects
from sandbox.upstreams.links import LinkSigner

Check = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Services:
    """One of each. `checks`: by name, what has to answer for the server to be ready. `audit`: of helper calls.

    `objects`: the store of uploaded files, None when none is configured. `links`: signs what works without a key.
    `directory`: of the tools of toolkits; `one_tool` runs one of them; `gateway` sends raw requests; `connect`: makes
    links to connect accounts, None without a backend. `once`: what executes now. `public_url`: where clients reach this
    server, None: where each says that it does. `link_s`: seconds for which a link to a file works.
    """

    manager: SessionManager
    audit: Audit
    objects: Objects | None
    links: LinkSigner
    toolbox: Toolbox
    keys: KeyRing
    metrics: Metrics
    checks: dict[str, Check]
    max_body_bytes: int
    max_upload_bytes: int
    request_timeout_s: float
    directory: Directory
    one_tool: OneTool
    gateway: Gateway
    connect: Connect | None
    once: Once
    public_url: str | None
    link_s: int


async def _services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Given = Annotated[Services, Depends(_services_of)]


def owner_of(request: Request, services: Services) -> str:
    """Find the key in any of the places that clients put it, and its owner.

    Raises:
        Unauthorized: no key, or an unknown one.
    """
    headers = request.headers
    key = headers.get("x-api-key") or headers.get("x-user-api-key") or headers.get("x-consumer-api-key")
    if not key:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else None
    return services.keys.owner_of(key)


async def _owner(request: Request, services: Given) -> str:
    return owner_of(request, services)


Owner = Annotated[str, Depends(_owner)]
