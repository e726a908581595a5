"""Frames to lines and back. Bounded, tolerant of garbage, no I/O."""

import msgspec

from sandbox.errors import PipeViolation
from sandbox.limits import LINE_MAX_BYTES
from sandbox.pipe.frames import Frame

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Give the frame as one line, newline included.

    Raises:
        PipeViolation: the line would be over LINE_MAX_BYTES, or a text in it has no UTF-8 form.
    """
    try:
        line = _encoder.encode(frame) + b"\n"
    except UnicodeEncodeError as error:
        raise PipeViolation(f"a text of {type(frame).__name__} cannot be written as UTF-8: {error}") from None
    if len(line) > LINE_MAX_BYTES:
        raise PipeViolation(
            f"{type(frame).__name__} is {len(line)} bytes long; a line of the pipe holds {LINE_MAX_BYTES}"
        )
    return line


def decode(line: bytes) -> Frame | None:
    """Give the frame on a line, or None when the line is not one."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class LineDecoder:
    """Bytes in, whole lines out. Holds at most one line of LINE_MAX_BYTES, whatever comes.

    A line over the limit is dropped up to its newline and counted in `overlong`; what that means is for the
    side that reads: the agent goes on, the controller ends the pipe.
    """

    def __init__(self, limit: int = LINE_MAX_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._skipping = False
        self.overlong = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came; give the lines that are complete now, without newlines, empty ones left out."""
        pieces = data.split(b"\n")
        rest = pieces.pop()
        lines: list[bytes] = []
        for piece in pieces:
            line = self._finish(piece)
            if line:
                lines.append(line)
        self._keep(rest)
        return lines

    def _finish(self, piece: bytes) -> bytes | None:
        if self._skipping:
            self._skipping = False
            return None
        if self._partial:
            self._partial += piece
            piece = bytes(self._partial)
            self._partial.clear()
        if len(piece) >= self._limit:
            self.overlong += 1
            return None
        return piece

    def _keep(self, rest: bytes) -> None:
        if self._skipping or not rest:
            return
        if len(self._partial) + len(rest) >= self._limit:
            self._partial.clear()
            self._skipping = True
            self.overlong += 1
            return
        self._partial += rest
