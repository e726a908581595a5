"""What is displayed between two cells, kept for the next one: the last of it, in bounded memory."""

from collections import deque
from typing import Final

import msgspec

from sandbox.agent.kernel_wire import Content, Message
from sandbox.limits import MIB

_MESSAGES_MAX: Final = 100
_BYTES_MAX: Final = 16 * MIB


class LateMessages:
    """Messages that came when no cell ran. The oldest go when they are too many, or too long together."""

    def __init__(self, *, most: int = _MESSAGES_MAX, most_bytes: int = _BYTES_MAX) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[tuple[Content, int]] = deque()
        self._bytes = 0
        self._dropped = 0

    def add(self, message: Message) -> None:
        """Keep a message, if there is room for it at all."""
        size = len(msgspec.json.encode(message.content))
        self._kept.append((message.content, size))
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._kept.popleft()[1]
            self._dropped += 1

    def take(self) -> tuple[list[Content], str | None]:
        """Give what is kept, oldest first, and words about what is not; from here on there is none."""
        contents = [content for content, _ in self._kept]
        dropped, self._dropped, self._bytes = self._dropped, 0, 0
        self._kept.clear()
        return contents, f"{dropped} displays of earlier cells were left out: too much at once" if dropped else None
