"""What helpers and the relay say to each other: JSON lines. Bounded, tolerant of garbage, no I/O."""

from typing import Annotated, Any, Final

import msgspec

from sandbox.limits import LINE_MAX_BYTES

_NAME_MAX: Final = 100
_PATH_MAX: Final = 1024

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=_PATH_MAX, pattern=r"^/[^\x00]*\Z")]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call. `arguments` is not looked at; `arguments_path`: a file with them, when they are long.

    `execution`: whose it is, as the caller says. `timeout_s`: how long it waits.
    """

    helper: Annotated[str, msgspec.Meta(min_length=1, max_length=_NAME_MAX)]
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    arguments_path: Path | None = None
    execution: Annotated[str, msgspec.Meta(max_length=_NAME_MAX)] | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer: a JSON value and error text; `path`: a file with the value. `interrupted`: its execution is ended."""

    result: msgspec.Raw
    error: str
    path: str | None = None
    interrupted: bool = False


_decoder: Final = msgspec.json.Decoder(Request)
_object: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()
_NULL: Final = msgspec.Raw(b"null")


def failed(error: str) -> Reply:
    """Make an answer that has no value."""
    return Reply(_NULL, error)


INTERRUPTED: Final = Reply(_NULL, "the execution that made this call was interrupted or timed out", interrupted=True)


def reply_line(reply: Reply) -> bytes:
    """Give an answer as a line."""
    return _encoder.encode(reply) + b"\n"


class RequestLine:
    """Collects one request; `broken` once what came is none."""

    def __init__(self) -> None:
        self.broken = False
        self._partial = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a line that has not ended."""
        return len(self._partial)

    def feed(self, data: bytes) -> Request | None:
        """Take a piece; give the request when its line is whole."""
        end = data.find(b"\n")
        if len(self._partial) + len(data) > LINE_MAX_BYTES or -1 < end < len(data) - 1:
            self.broken = True
            return None
        if end < 0:
            self._partial += data
            return None
        if self._partial:
            data = bytes(self._partial + data)
            self._partial.clear()
        try:
            request = _decoder.decode(data)
            # What is passed on as it is, is checked here: it must not pass for a broken line of the pipe.
            _object.decode(request.arguments)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.broken = True
            return None
        return request
