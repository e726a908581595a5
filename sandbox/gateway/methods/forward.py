"""A meta tool that a backend answers: only the agent's side asks for it, so that it is no helper of the sandbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sandbox.errors import NotFound
from sandbox.gateway.methods.base import Method, Sending
from sandbox.gateway.methods.tool import ToolArguments
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import ToolAnswer, ToolCall, Tools


@dataclass(frozen=True, slots=True)
class ForwardMeta(Method[ToolArguments, ToolAnswer]):
    """`tools`: all sources; that which claims the slug of a meta tool is the backend."""

    tools: Sequence[Tools]
    redact: Callable[[str], str]

    name: ClassVar[str] = "forward"
    arguments = ToolArguments

    def target(self, arguments: ToolArguments) -> str:
        """Give the slug."""
        return arguments.tool_slug

    async def send(self, arguments: ToolArguments, sending: Sending) -> ToolAnswer:
        """Ask the backend, once. Raises `NotFound` when there is none, or it has no such meta tool."""
        slug = arguments.tool_slug
        backend = next((source for source in self.tools if source.claims(slug)), None)
        if backend is None:
            raise NotFound(f"no backend has {slug}", suggested_fix="Set `composio_api_key`.")
        answer = await backend.execute(ToolCall(slug, arguments.arguments, sending.principal, sending.timeout_s))
        return answer if answer.error is None else replace(answer, error=self.redact(answer.error))

    def answer(self, result: ToolAnswer) -> HelperAnswer:
        """Say what it said, for the audit."""
        return HelperAnswer(result.data, result.error or "")
