"""`web_search`: a question to a search service."""

from dataclasses import dataclass
from typing import ClassVar

from sandbox.errors import InvalidArguments, UpstreamNotConfigured
from sandbox.gateway.methods.base import Arguments, Method, Sending, json_text
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import Search
from sandbox.upstreams.search_query import QUERY_CHARS


class SearchArguments(Arguments, frozen=True):
    """What is searched for."""

    query: str


@dataclass(frozen=True, slots=True)
class WebSearch(Method[SearchArguments, str]):
    """`search` None: no setting names one."""

    search: Search | None

    name: ClassVar[str] = "web_search"
    arguments = SearchArguments

    def target(self, arguments: SearchArguments) -> str:  # noqa: ARG002 - what is searched for is private
        """Give the service's name."""
        return self.search.name if self.search is not None else ""

    def ready(self, arguments: SearchArguments) -> None:
        """Raise `UpstreamNotConfigured` without a service, `InvalidArguments` for a question that cannot be asked."""
        self._service()
        if not arguments.query.strip():
            raise InvalidArguments("web_search: query is required")
        if len(arguments.query) > QUERY_CHARS:
            raise InvalidArguments(
                f"web_search: query has {len(arguments.query):,} characters, the most is {QUERY_CHARS:,}"
            )

    async def send(self, arguments: SearchArguments, sending: Sending) -> str:
        """Ask, once."""
        return await self._service().answer(arguments.query, timeout_s=sending.timeout_s)

    def answer(self, result: str) -> HelperAnswer:
        """Give the service's words."""
        return json_text(result)

    def _service(self) -> Search:
        if self.search is None:
            raise UpstreamNotConfigured(
                "web_search needs `exa_api_key` or `searxng_url` (WORKBENCH_EXA_API_KEY, WORKBENCH_SEARXNG_URL)"
            )
        return self.search
