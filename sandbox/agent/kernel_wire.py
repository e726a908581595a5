"""The Jupyter message protocol as the agent speaks it: what is sent, and what of the kernel's words is understood.

No sockets in here. What the kernel says is made by user code as well, so everything is read tolerantly: what does
not parse is dropped, or has its default.
"""

from typing import Final, TypeAlias, TypeVar

import msgspec

DELIMITER: Final = b"<IDS|MSG>"
_NAME_CHARS: Final = 1_000
_DATE: Final = "2025-01-01T00:00:00.000000Z"

# --- what the kernel says -------------------------------------------------------------------------


class Status(msgspec.Struct, frozen=True):
    """The kernel began (`busy`) or finished (`idle`) to work on a request."""

    execution_state: str = ""


class Reply(msgspec.Struct, frozen=True):
    """The answer to an execute request: `status` is `ok` or `error`, the latter with the exception."""

    status: str = ""
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []
    execution_count: int | None = None
    payload: list[dict[str, msgspec.Raw]] = []

    def pages(self) -> list[str]:
        """Give the texts that were to be shown beside the cell, such as pages of help."""
        found = (_tolerant(_page, page.get("data", b"")) for page in self.payload)
        return [text for page in found if page and (text := text_of(page.get("text/plain")))]


class Raised(msgspec.Struct, frozen=True):
    """An exception was shown; it need not have ended the cell."""

    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []


class Display(msgspec.Struct, frozen=True):
    """Something was displayed, or is the value of the last expression. `data`: MIME type to value, as JSON.

    The values are not made into objects: a document of 30 MB would be 800 MB of them, and lose its long numbers.
    """

    data: dict[str, msgspec.Raw] = {}
    transient: dict[str, msgspec.Raw] = {}

    @property
    def display_id(self) -> str | None:
        """The name under which a later display replaces this one."""
        name = text_of(self.transient.get("display_id"))
        return name[:_NAME_CHARS] if name else None


class UpdateDisplay(Display, frozen=True):
    """What was displayed under this id has a new state."""


class Clear(msgspec.Struct, frozen=True):
    """Take away what was displayed so far; `wait`: only when the next display comes."""

    wait: bool = False


class Stream(msgspec.Struct, frozen=True):
    """Text that a library sent as a message; our kernel writes text to its pipes instead."""

    name: str = "stdout"
    text: str = ""


Content: TypeAlias = Status | Reply | Raised | Display | UpdateDisplay | Clear | Stream

_CONTENTS: Final[dict[str, msgspec.json.Decoder[Content]]] = {
    "status": msgspec.json.Decoder(Status),
    "execute_reply": msgspec.json.Decoder(Reply),
    "error": msgspec.json.Decoder(Raised),
    "execute_result": msgspec.json.Decoder(Display),
    "display_data": msgspec.json.Decoder(Display),
    "update_display_data": msgspec.json.Decoder(UpdateDisplay),
    "clear_output": msgspec.json.Decoder(Clear),
    "stream": msgspec.json.Decoder(Stream),
}


REPLY_UNREAD: Final = Reply("error", "KernelReplyError", "the kernel's reply could not be read")
REPLY_MISSING: Final = Reply(
    "error", "KernelReplyError", "the kernel ended this code but could not say how; what it printed may tell why"
)
_DISPLAYS: Final = ("execute_result", "display_data")
_DISPLAY_UNREAD: Final = Display(
    {"text/plain": msgspec.Raw(b'"[a display that could not be read: not JSON, or nested too deeply]"')}
)


class _Header(msgspec.Struct):
    msg_type: str = ""
    msg_id: str = ""


_header = msgspec.json.Decoder(_Header)
_text = msgspec.json.Decoder(str)
_page = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Message(msgspec.Struct, frozen=True):
    """One message of the kernel. `parent` is the id of the request that it is about, or empty."""

    parent: str
    content: Content


def decode(frames: list[bytes]) -> Message | None:
    """Read one message from its frames, or from one frame that has them on a line each (so our kernel publishes).

    None when it is of no interest or not understood. An `execute_reply` that does not parse still is one: without it
    an execution would never end. So is what is displayed: it is not lost in silence.
    """
    if len(frames) == 1:
        frames = frames[0].split(b"\n")
    try:
        start = frames.index(DELIMITER) + 2
        header, parent, _, content = frames[start : start + 4]
    except ValueError:
        return None
    kind = _tolerant(_header, header)
    decoder = _CONTENTS.get(kind.msg_type) if kind else None
    about = _tolerant(_header, parent)
    if kind is None or decoder is None or about is None:
        return None
    body = _tolerant(decoder, content)
    if body is None and kind.msg_type == "execute_reply":
        body = REPLY_UNREAD
    if body is None and kind.msg_type in _DISPLAYS:
        body = _DISPLAY_UNREAD
    return Message(about.msg_id, body) if body is not None else None


T = TypeVar("T")


def text_of(value: msgspec.Raw | None) -> str | None:
    """Give a value that is a text; None when it is something else."""
    return _tolerant(_text, value) if value is not None and memoryview(value)[:1].tobytes() == b'"' else None


def _tolerant(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T | None:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # Text with lone surrogates leaves the kernel as invalid UTF-8.
        return decoder.decode(bytes(data).decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None


# --- what is sent ---------------------------------------------------------------------------------


class _Execute(msgspec.Struct):
    code: str
    silent: bool
    store_history: bool
    user_expressions: dict[str, str] = {}
    allow_stdin: bool = False
    stop_on_error: bool = False


def execute_request(msg_id: str, code: str, *, silent: bool = False) -> list[bytes]:
    """Give the frames that ask for an execution. Requests that wait behind it are not aborted by an error."""
    header = {
        "msg_id": msg_id,
        "msg_type": "execute_request",
        "username": "",
        "session": "agent",
        "date": _DATE,
        "version": "5.4",
    }
    content = _Execute(code, silent, not silent)
    return [DELIMITER, b"", msgspec.json.encode(header), b"{}", b"{}", msgspec.json.encode(content)]
