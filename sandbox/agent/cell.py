"""What one cell says while it runs, gathered; no kernel and no clock in here."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandbox.agent.artifacts import ArtifactStore
from sandbox.agent.display import Displays
from sandbox.agent.kernel_wire import Clear, Content, Display, Raised, Reply, Status, Stream
from sandbox.agent.live import LiveText
from sandbox.agent.output import Capture
from sandbox.agent.spill_room import Claim
from sandbox.limits import TRACEBACK_CHARS
from sandbox.pipe.messages import Artifact, CodeError, LiveArtifact, Progress, StreamName

Emit = Callable[[Progress], None]

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_RETURN_HINT: Final = "Hint: a cell is not a function: put the value on the last line, or print it."
_CUT: Final = "\n[... {} characters left out ...]\n"
_LATE_NOTE: Final = "some of this output came from what earlier cells left running in the background"
_NAME_CHARS: Final = 500
_MESSAGE_CHARS: Final = TRACEBACK_CHARS // 2
"""An answer of nothing but control characters, of which JSON makes six bytes each, still fits a line of the pipe."""
_CLEAN_EXITS: Final = ("", "None", "0")


class CellStreams:
    """Standard output and error of a cell. They may begin before the cell: what comes between two cells is here.

    `claim`: the room of its files. `early`: made before its cell is known, for late output of earlier cells.
    """

    def __init__(
        self, folder: Path, prefix: str, claim: Claim, *, live: LiveText | None = None, early: bool = False
    ) -> None:
        self.prefix = prefix
        self.claim = claim
        self.live = live
        self.early = early
        self.captures = {
            stream: Capture(
                folder / f"{prefix}_{stream.value}.txt",
                claim=claim,
                on_text=self._forward(stream) if early or live else None,
            )
            for stream in (StreamName.STDOUT, StreamName.STDERR)
        }

    def _forward(self, stream: StreamName) -> Callable[[str], None]:
        def forward(text: str) -> None:
            if self.live is not None:
                self.live.text(stream, text)

        return forward


class Cell:
    """Takes what the kernel says about one cell; `ended` when its reply and its idle have come."""

    def __init__(self, folder: Path, streams: CellStreams, emit: Emit | None) -> None:
        self.streams = streams
        self.store = ArtifactStore(folder, streams.prefix, streams.claim, self._saved if emit else None)
        self.displays = Displays(self.store, self._value_text if emit else None)
        self.reply: Reply | None = None
        self.idle = False
        self._emit = emit
        self._raised: Raised | None = None

    @property
    def ended(self) -> bool:
        """Whether the kernel has said all."""
        return self.reply is not None and self.idle

    def take(self, content: Content, *, own: bool) -> None:
        """Take one message. `own`: it is about this cell; else an earlier one still displays something."""
        match content:
            case Status() if own:
                self.idle |= content.execution_state == "idle"
            case Reply() if own:
                self.reply = content
            case Display():
                self.displays.show(content)
            case Clear():
                self.displays.clear(wait=content.wait)
            case Raised():
                # Only the last can be what ended the cell; there may be a million before it.
                self._shown()
                self._raised = content
            case Stream():
                stream = StreamName.STDERR if content.name == "stderr" else StreamName.STDOUT
                self.streams.captures[stream].feed(content.text.encode("utf-8", "replace"))
            case _:
                pass

    def close(self) -> CodeError | None:
        """Give the error that ended the cell, if one did; other errors that were shown go to standard error."""
        error = self._error()
        self._shown()
        for page in self.reply.pages() if self.reply else ():
            self.displays.text(plain(page))
        return error

    def notes(self) -> list[str]:
        """Words about this cell's output that a person should read."""
        notes = [_LATE_NOTE] if self.streams.early else []
        if self.store.problem:
            notes.append(self.store.problem)
        if self.displays.cut:
            notes.append("displayed text was left out: too much for one cell")
        return notes

    def _error(self) -> CodeError | None:
        reply = self.reply
        if reply is None or reply.status == "ok":
            return None
        shown, self._raised = self._raised, None
        if reply.ename == "NoneType" and shown is not None:
            # The value could not be shown: the reply does not say why, the message before it does.
            return code_error(shown.ename, shown.evalue, shown.traceback)
        if reply.ename == "SystemExit" and reply.evalue in _CLEAN_EXITS:
            return None
        return code_error(reply.ename, reply.evalue, reply.traceback)

    def _shown(self) -> None:
        """Put an error that was shown, and did not end the cell, to standard error."""
        raised, self._raised = self._raised, None
        if raised is not None:
            text = plain("\n".join(raised.traceback) or f"{raised.ename}: {raised.evalue}")
            self.streams.captures[StreamName.STDERR].feed(text.encode("utf-8", "replace") + b"\n")

    def _saved(self, artifact: Artifact) -> None:
        if self._emit is not None:
            self._emit(LiveArtifact(artifact))

    def _value_text(self, text: str) -> None:
        if self.streams.live is not None:
            self.streams.live.text(StreamName.VALUE, text)


def code_error(name: str, message: str, traceback: list[str]) -> CodeError:
    """Make an error from the kernel's words: no colours, bounded, with a hint where one helps."""
    lines = "\n".join(traceback) or f"{name}: {message}"
    if name == "SyntaxError" and message.startswith("'return' outside function"):
        lines = f"{lines}\n{_RETURN_HINT}"
    return CodeError(plain(name)[:_NAME_CHARS], bounded(plain(message), _MESSAGE_CHARS), bounded(plain(lines)))


def plain(text: str) -> str:
    """Take the terminal's colour codes out of a text."""
    return _COLOURS.sub("", text) if "\x1b" in text else text


def bounded(text: str, most: int = TRACEBACK_CHARS) -> str:
    """Keep head and tail of a text of more than `most` characters."""
    if len(text) <= most:
        return text
    cut = _CUT.format(len(text) - most)
    half = (most - len(cut)) // 2
    return text[:half] + cut + text[-half:]
