"""What an MCP tool answered, as a `ToolAnswer`. Pure; what is large stays the bytes that came."""

from typing import Final

import msgspec

from sandbox.errors import UpstreamInvalid
from sandbox.upstreams.base import Json, ToolAnswer
from sandbox.upstreams.json_values import VALUES_MAX, has_too_many

ERROR_CHARS_MAX: Final = 20_000


class _Result(msgspec.Struct, rename="camel"):
    content: msgspec.Raw = msgspec.Raw(b"[]")
    structured_content: msgspec.Raw = msgspec.Raw(b"null")
    is_error: bool | None = False


class _Block(msgspec.Struct):
    type: str
    text: str | None = None


def to_answer(result: msgspec.Raw, what: str) -> ToolAnswer:
    """Map the result of `tools/call`. `what`: what errors call the server.

    Structured content is the data when there is some. Else one text is the data when it is a JSON object, under
    `result` when it is other JSON, and under `text` when it is none; anything else is under `content` as it came.

    Raises:
        UpstreamInvalid: it is no such result.
    """
    try:
        said = msgspec.json.decode(result, type=_Result)
        if has_too_many(bytes(said.content)):
            raise UpstreamInvalid(f"{what} answered with content of more than {VALUES_MAX:,} values")
        blocks = msgspec.json.decode(said.content, type=list[_Block])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamInvalid(f"{what} answered with what is no result of a tool: {error}") from None
    texts = [block.text for block in blocks if block.type == "text" and block.text is not None]
    failure = None
    if said.is_error:
        failure = "\n".join(texts)[:ERROR_CHARS_MAX].strip() or "the tool failed and did not say why"
    return ToolAnswer(_data(said, blocks, texts), failure)


def _data(said: _Result, blocks: list[_Block], texts: list[str]) -> Json:
    structured = memoryview(said.structured_content)
    beginning = bytes(structured[:1])
    if beginning != b"n":  # null
        return said.structured_content if beginning == b"{" else _under(b"result", structured)
    if len(texts) == 1 == len(blocks):
        return _of_text(texts[0])
    return _under(b"content", memoryview(said.content))


def _of_text(text: str) -> Json:
    data = text.strip().encode("utf-8", "surrogatepass")
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _under(b"text", msgspec.json.encode(text))
    return msgspec.Raw(data) if data[:1] == b"{" else _under(b"result", data)


def _under(name: bytes, value: bytes | memoryview) -> Json:
    return msgspec.Raw(b"".join((b'{"', name, b'":', value, b"}")))
