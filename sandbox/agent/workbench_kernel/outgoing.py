"""How the kernel's messages go out."""

from __future__ import annotations

import sys
import threading
from json import JSONEncoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import zmq

RICH_MAX_CHARS = 64 * 1024 * 1024
COPY_MAX_BYTES = 64 * 1024
TRACEBACK_CHARS = 20_000
MESSAGE_CHARS = TRACEBACK_CHARS // 2
"""What the agent keeps of a traceback and of the exception's own text."""
CUT = "\n[... {} characters left out ...]\n"


class Publisher:
    """The iopub socket as ipykernel uses it, without its thread: a message is sent where it is made.

    Each goes as one frame, its parts on a line each (JSON has no line breaks): what sends is at times interrupted,
    and half a message would spoil the next.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        # A signal handler of the user's may display something while something is sent.
        self._sending = threading.RLock()

    def send_multipart(self, parts: list[bytes], **_: Any) -> None:
        """Send one message. From any thread."""
        message = b"\n".join(parts)
        with self._sending:
            self._socket.send(message, 0, len(message) < COPY_MAX_BYTES)

    def wait_for_subscriber(self) -> None:
        """Wait until the agent listens: nothing that is said from here on is missed."""
        self._socket.recv()

    def stop(self) -> None:
        """Nothing to stop: there is no thread."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def bound_rich_data(message: dict[str, Any]) -> dict[str, Any]:
    """Take what is over RICH_MAX_CHARS out of a display message, with a word on standard error."""
    data = message["content"].get("data", {})
    for mime in [mime for mime, value in data.items() if isinstance(value, str) and len(value) > RICH_MAX_CHARS]:
        sys.stderr.write(f"display: {mime} of {len(data[mime])} characters left out (limit {RICH_MAX_CHARS})\n")
        data[mime] = ""
    return message


def traceback_text(text: str) -> str:
    """Keep head and tail of a traceback that is too long."""
    return _bounded(text, TRACEBACK_CHARS)


def error_text(text: str) -> str:
    """Keep head and tail of an exception's text that is too long."""
    return _bounded(text, MESSAGE_CHARS)


def _bounded(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    cut = CUT.format(len(text) - most)
    half = (most - len(cut)) // 2
    return text[:half] + cut + text[-half:]


def tolerant_pack(pack: Callable[[object], bytes]) -> Callable[[object], bytes]:
    """Make the session send what it cannot send itself, or the end of a cell would never be told.

    Such are text that is no valid Unicode, what user code put into a reply, and all of it once user code has broken
    `json`. That what is displayed is no JSON, its cell is told.
    """
    # Made now, and not looked up by name later: user code may have replaced it.
    strictly = JSONEncoder(ensure_ascii=False).encode
    somehow = JSONEncoder(ensure_ascii=False, default=str).encode

    def pack_any(content: object) -> bytes:
        try:
            return pack(content)
        except Exception as error:  # noqa: BLE001 - the border to what user code made of this process
            displayed = isinstance(content, dict) and "data" in content
            encode = strictly if displayed and not isinstance(error, UnicodeEncodeError) else somehow
            return encode(content).encode("utf-8", "replace")

    return pack_any
