"""An endpoint that speaks OpenAI's chat completions."""

from typing import Any, Final

from tests.support.faulty_server import FaultyServer, Reply, Seen, json_reply

KEY: Final = "sk-a-model-key-nobody-may-see"
MODEL: Final = "test-model"


class ModelServer(FaultyServer):
    """Answers each question with `content`, or with its own last message where that is None.

    `message`, `finish_reason`: laid over the answer; `wants`: the only name of the limit of tokens that it takes.
    """

    def __init__(self, key: str | None = KEY) -> None:
        super().__init__()
        self.key = key
        self.content: Any = None
        self.message: dict[str, Any] = {}
        self.finish_reason = "stop"
        self.wants: str | None = None
        self.lists_models = True
        self.answered: list[dict[str, Any]] = []

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    async def answer(self, request: Seen) -> Reply:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided", "invalid_api_key")
        if request.path == "/v1/models" and self.lists_models:
            return json_reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if request.path == "/v1/chat/completions":
            return self._complete(request.json)
        return _error(404, f"Unknown request URL: {request.path}", "unknown_url")

    def _complete(self, body: dict[str, Any]) -> Reply:
        if body["model"] != MODEL:
            return _error(404, f"The model {body['model']} does not exist", "model_not_found")
        for name in ("max_tokens", "max_completion_tokens"):
            if self.wants is not None and name in body and name != self.wants:
                message = (
                    f"Unsupported parameter: '{name}' is not supported with this model. Use '{self.wants}' instead."
                )
                return _error(400, message, "unsupported_parameter")
        self.answered.append(body)
        content = body["messages"][-1]["content"] if self.content is None else self.content
        said = {"role": "assistant", "content": content, **self.message}
        choice = {"index": 0, "message": said, "finish_reason": self.finish_reason}
        return json_reply({"id": "c_1", "object": "chat.completion", "choices": [choice], "usage": {}})


def _error(status: int, message: str, code: str) -> Reply:
    return json_reply({"error": {"message": message, "type": "invalid_request_error", "code": code}}, status)
