"""A model behind an endpoint that speaks OpenAI's chat completions."""

import re
from time import monotonic
from typing import Any, Final

import msgspec
from pydantic import SecretStr
from yarl import URL

from sandbox.errors import FieldError, InvalidArguments, UpstreamError, UpstreamRefused
from sandbox.limits import MODEL_INPUT_CHARS
from sandbox.upstreams.http import CHECK_TIMEOUT_S, OK, HttpAnswer, HttpRequest, HttpUpstream

HINTS: Final = {
    401: "Check the setting model_api_key.",
    403: "Check what the key in the setting model_api_key may do.",
    404: "Check the settings model_base_url, which ends in /v1 for most endpoints, and model_name.",
    405: "Check the setting model_base_url, which ends in /v1 for most endpoints.",
}

_EFFORT: Final = re.compile(r"[a-z]{1,20}")
_FENCE: Final = re.compile(r"```[A-Za-z0-9_-]*[ \t]*")
_OLD_LIMIT: Final = "max_tokens"
_NEW_LIMIT: Final = "max_completion_tokens"


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """The content, also when it comes in parts."""
        if isinstance(self.content, list):
            return "".join(part["text"] for part in self.content if isinstance(part.get("text"), str))
        return self.content or ""


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Listed(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Listed]


class OpenAiModel:
    """Asks one model. `base_url`: up to and with `/v1`; `key` None: the endpoint wants none.

    `temperature`, `max_output_tokens` None: the endpoint's own.
    """

    name = "model"

    def __init__(
        self,
        base_url: str,
        model: str,
        key: SecretStr | None,
        *,
        timeout_s: float,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        self._base = base_url
        self._model = model
        self._timeout_s = timeout_s
        self._temperature = temperature
        self._max_output_tokens = max_output_tokens
        self._limit_name = _OLD_LIMIT
        self._headers = [("content-type", "application/json"), ("accept", "application/json")]
        if key is not None:
            self._headers.append(("authorization", f"Bearer {key.get_secret_value()}"))
        self._http = HttpUpstream("The model", secrets=[] if key is None else [key], hints=HINTS)

    async def complete(self, query: str, *, reasoning_effort: str | None, timeout_s: float) -> str:
        """Answer one question. The code fence around an answer that is nothing but JSON is taken off."""
        _check(query, reasoning_effort)
        until = monotonic() + min(timeout_s, self._timeout_s)
        try:
            answer = await self._http.send(self._request(query, reasoning_effort, until))
        except UpstreamRefused as error:
            if self._limit_name not in error.message or _NEW_LIMIT not in error.message:
                raise
            answer = None
        if answer is None:
            # Newer models want another name for the same limit; the refused question was not answered.
            self._limit_name = _NEW_LIMIT
            answer = await self._http.send(self._request(query, reasoning_effort, until))
        return unfenced(self._text(answer))

    async def check(self) -> str:
        """List the models, which costs nothing and needs the key."""
        url = URL(f"{self._base}/models")
        accepted = frozenset({*OK, 404, 405})
        answer = await self._http.send(
            HttpRequest("GET", url, CHECK_TIMEOUT_S, self._headers, accepted=accepted, repeatable=True)
        )
        if answer.status not in OK:
            return "the endpoint answers; it has no list of models, so the name is not checked"
        try:
            listed = {model.id for model in msgspec.json.decode(answer.body, type=_Models).data}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            listed = None
        if listed is None:
            raise self._http.invalid("does not list its models. Check the setting model_base_url", answer.body)
        if self._model in listed:
            return f"the endpoint answers and has {self._model}"
        return f"the endpoint answers; {self._model} is not in its list of {len(listed)} models"

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    def _request(self, query: str, effort: str | None, until: float) -> HttpRequest:
        body: dict[str, Any] = {"model": self._model, "messages": [{"role": "user", "content": query}]}
        if self._temperature is not None:
            body["temperature"] = self._temperature
        if self._max_output_tokens is not None:
            body[self._limit_name] = self._max_output_tokens
        if effort is not None:
            body["reasoning_effort"] = effort
        url = URL(f"{self._base}/chat/completions")
        # An answer changes nothing outside, so a broken one may be asked for again.
        timeout_s = until - monotonic()
        return HttpRequest("POST", url, timeout_s, self._headers, msgspec.json.encode(body), repeatable=True)

    def _text(self, answer: HttpAnswer) -> str:
        try:
            choices = msgspec.json.decode(answer.body, type=_Completion).choices
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            choices = []
        if not choices:
            raise self._http.invalid("answered without a choice", answer.body)
        choice = choices[0]
        if choice.finish_reason == "length":
            raise self._cut(len(choice.message.text))
        if choice.message.text:
            return choice.message.text
        raise self._empty(choice)

    def _cut(self, chars: int) -> UpstreamError:
        return UpstreamRefused(
            f"The model's answer was cut at its limit of tokens, after {chars} characters. Ask for less at once, or "
            "raise the setting model_max_output_tokens."
        )

    def _empty(self, choice: _Choice) -> UpstreamError:
        if choice.message.refusal:
            return UpstreamRefused(f"The model refused: {self._http.scrub(choice.message.refusal)[:500]}")
        return UpstreamRefused(f"The model gave an empty answer (finish_reason {choice.finish_reason})")


def unfenced(text: str) -> str:
    """Take the code fence off an answer that is one fence around one JSON value; leave every other as it is."""
    fenced = text.strip()
    first, _, rest = fenced.partition("\n")
    if _FENCE.fullmatch(first) is None or not rest.endswith("```"):
        return text
    inner = rest.removesuffix("```").strip()
    try:
        msgspec.json.decode(inner, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return text
    return inner


def _check(query: str, effort: str | None) -> None:
    if not query.strip():
        raise _invalid("query", "is required")
    if len(query) > MODEL_INPUT_CHARS:
        raise _invalid("query", f"has {len(query)} characters, and {MODEL_INPUT_CHARS} is the most")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise _invalid("query", "holds half of a surrogate pair, which is no text") from error
    if effort is not None and _EFFORT.fullmatch(effort) is None:
        raise _invalid("reasoning_effort", f"is {effort[:50]!r} and has to be a word such as low, medium or high")


def _invalid(field: str, reason: str) -> InvalidArguments:
    return InvalidArguments(f"{field} {reason}", errors=(FieldError(field, reason),))
