"""Server-sent events, as far as MCP uses them: bytes in, the data of whole events out. No I/O."""

from collections.abc import Iterator


class EventTooLarge(Exception):
    """An event is over the bound."""


class EventReader:
    """Reads one stream. `max_bytes`: of one event, or of one line. `held`: bytes of what has not ended yet."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self.held = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give the data of each event that ends in these bytes.

        Raises:
            EventTooLarge: one is over the bound.
        """
        first, *more = chunk.split(b"\n")
        self._hold(first)
        for line in more:
            yield from self._ended(b"".join(self._line).removesuffix(b"\r"))
            self._line = []
            self._hold(line)

    def _hold(self, part: bytes) -> None:
        self.held += len(part)
        if self.held > self._max_bytes:
            raise EventTooLarge
        self._line.append(part)

    def _ended(self, line: bytes) -> Iterator[bytes]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line:
            self.held -= len(line)
        else:
            data = b"\n".join(self._data)
            self._data, self.held = [], 0
            if data:
                yield data
