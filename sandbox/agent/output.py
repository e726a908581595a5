"""One stream of output in bounded memory: its first characters inline, from there on all of it in a file."""

import codecs
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from sandbox.agent.spill_room import Claim, SpillRoom
from sandbox.agent.words import WORDS
from sandbox.limits import INLINE_CHARS, SPILL_MAX_BYTES
from sandbox.pipe.messages import StreamOutput

_STREAMS: Final = ("stdout", "stderr", "value", "results")
_NAMES_TRIED: Final = 20


class SpillNames:
    """Gives out the names of spill files: `exec_fish`, of which the files are `exec_fish_stdout.txt` and so on.

    `folder` is where they will lie; names that are in use there are not given out. `room`: what they may take there.
    """

    def __init__(self, folder: Path) -> None:
        self.room = SpillRoom(folder)
        self._folder = folder
        self._random = random.SystemRandom()
        self._fresh: dict[str, list[str]] = {}
        self._rounds: dict[str, int] = {}

    def new(self, kind: Literal["exec", "bash"]) -> str:
        """Give a name that nothing has; it is not given out again unless it is given back."""
        while True:
            prefix = f"{kind}_{self._next(kind)}"
            # Strings: to join a Path costs as much as to look.
            stem = f"{self._folder}/{prefix}"
            if not any(os.path.lexists(f"{stem}_{stream}.txt") for stream in _STREAMS):
                return prefix

    def give_back(self, prefix: str) -> None:
        """Nothing was written under this name: it may be given out again."""
        kind, _, word = prefix.partition("_")
        self._fresh[kind].insert(0, word)

    def _next(self, kind: str) -> str:
        fresh = self._fresh.setdefault(kind, [])
        if not fresh:
            # Words first; when they are used up, each again with a number.
            turn = self._rounds[kind] = self._rounds.get(kind, 0) + 1
            fresh.extend(word if turn == 1 else f"{word}{turn}" for word in WORDS)
            self._random.shuffle(fresh)
        return fresh.pop()


class Capture:
    """Takes one stream piece by piece. Never raises for what the disk does: `lost` says it.

    `path`: where the spill file goes when there is one. `on_text`: gets the decoded text as it comes; whoever
    gives it bounds it. `claim`: the room of the execution, None for no bound but `spill_max_bytes`: how much the
    file keeps. Undecodable bytes become U+FFFD in texts and stay as they are in the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        claim: Claim | None = None,
        on_text: Callable[[str], None] | None = None,
        spill_max_bytes: int = SPILL_MAX_BYTES,
    ) -> None:
        self._spill = _Spill(path, spill_max_bytes, claim)
        self._on_text = on_text
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._head = bytearray()
        self._texts: list[str] = []
        self._room = INLINE_CHARS
        self._bytes = 0
        self._newlines = 0
        self._last = b""
        self._output: StreamOutput | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if not data:
            return
        self._bytes += len(data)
        self._newlines += data.count(b"\n")
        self._last = data[-1:]
        if not self._spill.begun:
            self._head += data
            self._take(self._decoder.decode(data))
        else:
            self._spill.write(data)
            if self._on_text is not None:
                self._on_text(self._decoder.decode(data))

    def output(self) -> StreamOutput:
        """Give the stream as it is now. From here on only `late` takes more."""
        if self._output is None:
            self._take(self._decoder.decode(b"", final=True))
            unfinished = 1 if self._bytes and self._last != b"\n" else 0
            kept, lost = self._spill.check(self._bytes)
            self._output = StreamOutput(
                text="".join(self._texts),
                bytes=self._bytes,
                lines=self._newlines + unfinished,
                path=str(self._spill.path) if self._spill.begun else None,
                kept_bytes=kept,
                lost=lost,
            )
            self._texts.clear()
        return self._output

    def late(self, data: bytes) -> None:
        """Take bytes that came after `output` was given: they go to the spill file, which is made for them."""
        if not self._spill.begun:
            self._begin_spill()
        self._spill.write(data)

    def close(self) -> StreamOutput:
        """Give the stream as it is and close its file."""
        output = self.output()
        self._spill.close()
        self._head.clear()
        return output

    @property
    def path(self) -> Path:
        """Where the spill file is or would be."""
        return self._spill.path

    def _take(self, text: str) -> None:
        if self._on_text is not None and text:
            self._on_text(text)
        if self._spill.begun:
            return
        self._texts.append(text[: self._room])
        if len(text) > self._room:
            self._begin_spill()
        self._room = max(0, self._room - len(text))

    def _begin_spill(self) -> None:
        self._spill.begin()
        self._spill.write(self._head)
        self._head = bytearray()


def bounded_text(text: str, path: Path, claim: Claim | None = None) -> StreamOutput:
    """Give a text as a stream: its first characters, and the whole in `path` when it is longer."""
    capture = Capture(path, claim=claim)
    capture.feed(text.encode("utf-8", "replace"))
    return capture.close()


class _Spill:
    """The file of one stream: keeps what it can, and knows how much that was."""

    def __init__(self, path: Path, max_bytes: int, claim: Claim | None) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._claim = claim
        self.begun = False
        self._fd: int | None = None
        self._kept = 0
        self._lost: str | None = None

    def begin(self) -> None:
        self.begun = True
        try:
            self._fd = self._create()
        except OSError as error:
            self._lost = _words(error)
            return
        if self._claim is not None:
            self._claim.opened()

    def write(self, data: bytes | bytearray) -> None:
        if self._fd is None or self._lost is not None:
            return
        room = self._max_bytes - self._kept
        rest = memoryview(data)[:room]
        if self._claim is not None and not self._claim.take(len(rest)):
            self._lost = self._claim.refusal
            return
        try:
            while rest:
                written = os.write(self._fd, rest)
                self._kept += written
                rest = rest[written:]
        except OSError as error:
            self._lost = _words(error)
            return
        if len(data) > room:
            self._lost = f"a spill file keeps at most {self._max_bytes} bytes"

    def check(self, total: int) -> tuple[int | None, str | None]:
        """Give what is kept of `total` bytes and why it is not all; (None, None) when all of it is."""
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            return 0, "the file was deleted while it was written"
        if self._lost is None or not self.begun:
            return None, None
        return min(self._kept, total), self._lost

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            if self._claim is not None:
                self._claim.closed()

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        wanted = self.path
        for number in range(2, _NAMES_TRIED):
            try:
                return os.open(self.path, flags, 0o644)
            except FileNotFoundError:
                # User code may delete the folder; it may also have put something else there.
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                self.path = wanted.with_stem(f"{wanted.stem}_{number}")
        raise FileExistsError(errno.EEXIST, "there is a file of this name", str(wanted))


def _words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk of the sandbox is full"
    return f"the file could not be written: {error.strerror}"
