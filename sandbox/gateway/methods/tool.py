"""`run_composio_tool`: a tool of a backend or of an MCP server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import msgspec

from sandbox.errors import NotFound, UpstreamNotConfigured
from sandbox.gateway.methods.base import Arguments, Method, Sending
from sandbox.gateway.policy import Policy, normal_slug
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import ToolAnswer, ToolCall, Tools

_WHOLE_BYTES: Final = 64 * 1024
"""An answer up to this size is put together; of a larger one nothing is copied."""


class ToolArguments(Arguments, frozen=True):
    """`account`: which connected account, in the backend's words."""

    tool_slug: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    account: str | None = None


class _Result(msgspec.Struct, frozen=True):
    data: msgspec.Raw
    successful: bool
    error: str | None
    log_id: str | None


class _Beside(msgspec.Struct, frozen=True):
    successful: bool
    error: str | None
    log_id: str | None


@dataclass(frozen=True, slots=True)
class RunTool(Method[ToolArguments, ToolAnswer]):
    """`tools`: all sources, in the order in which they are asked. `redact`: takes credentials out of their words."""

    tools: Sequence[Tools]
    redact: Callable[[str], str]

    name: ClassVar[str] = "run_composio_tool"
    arguments = ToolArguments

    def read(self, raw: msgspec.Raw) -> ToolArguments:
        """Read the arguments, the slug in its one spelling. Raises `InvalidArguments`."""
        read = super(RunTool, self).read(raw)
        return self.asked(read.tool_slug, read.arguments, read.account)

    def asked(self, slug: str, arguments: dict[str, Any], account: str | None) -> ToolArguments:
        """Make the arguments of values. Raises `InvalidArguments` for what is no slug."""
        return ToolArguments(normal_slug(slug), arguments, account)

    def target(self, arguments: ToolArguments) -> str:
        """Give the slug."""
        return arguments.tool_slug

    async def permit(self, arguments: ToolArguments, policy: Policy) -> None:
        """Raise `HelperRefused` for a tool that the session may not run."""
        slug = arguments.tool_slug
        policy.check_tool(slug)
        if policy.wants_tags(slug):
            policy.check_tags(slug, await self._tags(slug))

    def settled(self, arguments: ToolArguments, policy: Policy) -> ToolArguments:
        """Fill in the connected account that the session names. Raises `HelperRefused` for another one."""
        account = policy.account_for(arguments.tool_slug, arguments.account)
        return arguments if account == arguments.account else msgspec.structs.replace(arguments, account=account)

    def ready(self, arguments: ToolArguments) -> None:  # noqa: ARG002 - whatever they are
        """Raise `UpstreamNotConfigured` when there is no source of tools."""
        if not self.tools:
            raise UpstreamNotConfigured(
                "run_composio_tool needs a source of tools: `mcp_servers` or `composio_api_key` "
                "(WORKBENCH_MCP_SERVERS, WORKBENCH_COMPOSIO_API_KEY)"
            )

    async def send(self, arguments: ToolArguments, sending: Sending) -> ToolAnswer:
        """Run the tool, once. Raises `NotFound` when no source has it."""
        slug = arguments.tool_slug
        answer = await self._source(slug).execute(
            ToolCall(slug, arguments.arguments, sending.principal, sending.timeout_s, arguments.account)
        )
        if answer.error is None:
            return answer
        return replace(answer, error=self.redact(answer.error) or "the tool failed and did not say why")

    def answer(self, result: ToolAnswer) -> HelperAnswer:
        """Say what the tool said; its error beside it."""
        successful = result.error is None
        error = result.error or ""
        if len(result.data) <= _WHOLE_BYTES:
            whole = _Result(result.data, successful, result.error, result.log_id)
            return HelperAnswer(msgspec.Raw(msgspec.json.encode(whole)), error)
        beside = msgspec.json.encode(_Beside(successful, result.error, result.log_id))
        return HelperAnswer((b'{"data":', memoryview(result.data), b"," + beside[1:]), error)

    def _source(self, slug: str) -> Tools:
        for source in self.tools:
            if source.claims(slug):
                return source
        raise NotFound(
            f"no tool {slug}: none of the sources of tools has it ({', '.join(each.name for each in self.tools)})",
            suggested_fix="A tool's slug begins with the name of its toolkit, such as `TIME_GET_CURRENT_TIME`.",
        )

    async def _tags(self, slug: str) -> tuple[str, ...] | None:
        found = await self._source(slug).find([slug])
        return next((info.tags for info in found if info.slug.upper() == slug), None)
