"""What the gateway needs from what is outside. Implementations hold credentials; nobody above them sees one.

Every method has its own deadline, ends what it has under way when it is cancelled, and raises from one tree:

Raises:
    UpstreamUnavailable: not reachable, or not in time. `retry` only when the call cannot have had an effect.
    UpstreamRateLimited: it wants to be asked later; the call was not done.
    UpstreamRefused: it answered with an error; the message has its words, bounded.
    UpstreamInvalid: its answer cannot be understood, or is over its bound.
    InvalidArguments: the call is wrong in itself; names the field. Nothing was sent.
"""

from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

Json: TypeAlias = msgspec.Raw
"""A JSON value as the bytes that came, so that a large answer is held once and parsed only where it must be."""

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE", "PATCH"]

OnProgress: TypeAlias = Callable[[int, int | None], None]
"""Told how many bytes are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Principal:
    """For whom a call is made. `user_id`: what the client calls its user, None when it named none."""

    session_id: str
    owner: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool to run. `slug` is in upper case; `account`: which connected account, in the backend's words."""

    slug: str
    arguments: dict[str, Any]
    principal: Principal
    timeout_s: float
    account: str | None = None


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool said. `data`: a JSON object, also beside an error; `error`: one text, None when all is well."""

    data: Json
    error: str | None = None
    log_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool as the catalogue shows it. `input_schema`, `output_schema`: JSON schemas of an object."""

    slug: str
    name: str
    description: str
    toolkit: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolkitInfo:
    """A set of tools of one source. `healthy` None: not known; `trouble`: why it is not, in words."""

    slug: str
    name: str
    source: str
    healthy: bool | None
    trouble: str | None = None
    tools: int | None = None


@dataclass(frozen=True, slots=True)
class ProxyCall:
    """One raw request to a toolkit's own API. `endpoint`: a path, or a URL of the toolkit's host. `body`: JSON."""

    toolkit: str
    method: Method
    endpoint: str
    principal: Principal
    timeout_s: float
    query: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    body: Json | None = None


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """What the API answered, whatever its status. `data`: its body as JSON; text that is none is a JSON string."""

    status: int
    data: Json
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that was stored.

    `location`: its key in the store itself. `url`: a link that works without a key until `expires_at`.
    """

    key: str
    location: str
    url: str
    size: int
    content_type: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class UploadLink:
    """Where the bytes of an object can be put without a key, and its key in the store itself."""

    location: str
    url: str


class Upstream(Protocol):
    """What all have in common. `name` is what `workbench doctor` calls it."""

    name: str

    async def check(self) -> str:
        """Say in words that it works. Raises `UpstreamError` when it does not; bounded to a few seconds."""

    async def aclose(self) -> None:
        """Let go of connections and child processes."""


@runtime_checkable
class Starts(Protocol):
    """An upstream that has something to begin: connections that are kept, files to clear away."""

    async def start(self) -> None:
        """Begin it in the background: never waits for what is outside."""


class Tools(Upstream, Protocol):
    """A source of tools."""

    def claims(self, slug: str) -> bool:
        """Whether a slug is this source's to run; cheap, without I/O."""

    async def execute(self, call: ToolCall) -> ToolAnswer:
        """Run a tool, once. Raises as the module says, and `NotFound` when it has no such tool."""

    async def find(self, slugs: Sequence[str]) -> list[ToolInfo]:
        """Describe the tools of these slugs that it has."""

    async def toolkits(self) -> list[ToolkitInfo]:
        """List its toolkits with their health."""

    async def tools(self, toolkit: str | None = None) -> list[ToolInfo]:
        """List its tools; those of one toolkit when named. A source that has too many to list gives none."""


class Proxy(Upstream, Protocol):
    """A way to toolkits' own APIs, with their credentials added on the way."""

    def claims(self, toolkit: str) -> bool:
        """Whether a toolkit is this one's to reach; cheap, without I/O."""

    async def request(self, call: ProxyCall) -> ProxyAnswer:
        """Send one request. Raises as the module says."""


class Model(Upstream, Protocol):
    """A language model."""

    async def complete(self, query: str, *, reasoning_effort: str | None, timeout_s: float) -> str:
        """Answer one question of at most MODEL_INPUT_CHARS characters. Raises as the module says."""


class Search(Upstream, Protocol):
    """A search of the web."""

    async def answer(self, query: str, *, timeout_s: float) -> str:
        """Answer in text, with its sources named. Raises as the module says."""


@dataclass(frozen=True, slots=True)
class ConnectLink:
    """A link that a person opens to connect an account."""

    token: str
    url: str
    account_id: str


class Connect(Upstream, Protocol):
    """Connects accounts of persons."""

    async def link(
        self, principal: Principal, toolkit: str, *, callback_url: str | None = None, alias: str | None = None
    ) -> ConnectLink:
        """Make a link. Raises as the module says; `InvalidArguments`: it cannot connect that toolkit."""


class Objects(Upstream, Protocol):
    """A store of files that clients reach by link."""

    async def put(
        self, key: str, data: AsyncIterable[bytes], *, content_type: str, on_progress: OnProgress | None = None
    ) -> StoredObject:
        """Store what comes, of any size, whole or not at all; it is never held in memory. Raises as the module says."""

    async def upload_link(self, key: str, *, md5: str) -> UploadLink:
        """Give a link to `PUT` an object to. `md5`: of its bytes, in hexadecimal; what the store checks is its own."""


@dataclass(frozen=True, slots=True)
class Upstreams:
    """All that are configured, in the order in which they are asked; None: no setting names one."""

    tools: tuple[Tools, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    model: Model | None = None
    search: Search | None = None
    objects: Objects | None = None
    connect: Connect | None = None

    def __iter__(self) -> Iterator[Upstream]:
        """Give each once."""
        each: dict[int, Upstream] = {}
        for upstream in (*self.tools, *self.proxies, self.model, self.search, self.objects, self.connect):
            if upstream is not None:
                each[id(upstream)] = upstream
        return iter(each.values())
