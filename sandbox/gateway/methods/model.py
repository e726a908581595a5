"""`invoke_llm`: a question to a language model."""

from dataclasses import dataclass
from typing import ClassVar

from sandbox.errors import InvalidArguments, UpstreamNotConfigured
from sandbox.gateway.budget import Kind, Meter
from sandbox.gateway.methods.base import Arguments, Method, Sending, json_text
from sandbox.limits import MODEL_INPUT_CHARS
from sandbox.sessions.helper_port import HelperAnswer
from sandbox.upstreams.base import Model


class ModelArguments(Arguments, frozen=True):
    """`reasoning_effort`: in the model's words, such as `low`."""

    query: str
    reasoning_effort: str | None = None


@dataclass(frozen=True, slots=True)
class InvokeModel(Method[ModelArguments, str]):
    """`model` None: no setting names one. `called`: its name, for the audit."""

    model: Model | None
    called: str
    timeout_s: float

    name: ClassVar[str] = "invoke_llm"
    arguments = ModelArguments

    def target(self, arguments: ModelArguments) -> str:  # noqa: ARG002 - there is one model
        """Give the model's name."""
        return self.called

    def ready(self, arguments: ModelArguments) -> None:
        """Raise `UpstreamNotConfigured` without a model, `InvalidArguments` for a question that cannot be asked."""
        self._model()
        if not arguments.query.strip():
            raise InvalidArguments("invoke_llm: query is required")
        if len(arguments.query) > MODEL_INPUT_CHARS:
            raise InvalidArguments(
                f"invoke_llm: query has {len(arguments.query):,} characters, the most is {MODEL_INPUT_CHARS:,}"
            )

    def spend(self, arguments: ModelArguments, meter: Meter) -> None:
        """Count the question; its answer is counted when it is there."""
        meter.spend(Kind.MODEL_CHARS, len(arguments.query))

    async def send(self, arguments: ModelArguments, sending: Sending) -> str:
        """Ask, once."""
        text = await self._model().complete(
            arguments.query, reasoning_effort=arguments.reasoning_effort, timeout_s=sending.timeout_s
        )
        sending.meter.add(Kind.MODEL_CHARS, len(text))
        return text

    def answer(self, result: str) -> HelperAnswer:
        """Give the model's words."""
        return json_text(result)

    def _model(self) -> Model:
        if self.model is None:
            raise UpstreamNotConfigured(
                "invoke_llm needs `model_base_url` and `model_name` (WORKBENCH_MODEL_BASE_URL, WORKBENCH_MODEL_NAME)"
            )
        return self.model
