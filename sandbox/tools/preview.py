"""A small picture of a large JSON object: its first items, and what its children are. Pure; bounded whatever comes.

The form is the public one (COMPOSIO.md 7.2): arrays keep two items and then a text such as "...18 more items".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import ijson

from sandbox.limits import KIB, MIB

ITEMS: Final = 2
KEYS: Final = 60
TEXT_CHARS: Final = 300
DEPTH: Final = 8
PREVIEW_CHARS: Final = 6_000
"""Characters of texts, numbers and keys after which only counting goes on."""

SCAN_BYTES: Final = 8 * MIB
"""What is looked at, so that a preview takes a bounded time; counts beyond it are left open."""

_PIECE: Final = 64 * KIB
_MORE: Final = "..."


@dataclass(frozen=True, slots=True)
class Preview:
    """`data`: the object with most of it left out. `structure`: what its direct children are, by name."""

    data: Any
    structure: dict[str, Any]


@dataclass(slots=True)
class _Open:
    """A container that has begun and not ended. `value` None: it is not kept, only counted."""

    value: dict[str, Any] | list[Any] | None
    is_map: bool
    key: str = ""
    count: int = 0
    first: str = ""
    names: list[str] = field(default_factory=list)


class _Builder:
    """Takes parse events one by one."""

    def __init__(self) -> None:
        self.root: Any = None
        self.structure: dict[str, Any] = {}
        self._stack: list[_Open] = []
        self._skipping = 0
        self._chars = 0

    def take(self, event: str, value: Any) -> None:
        if self._skipping:
            self._skip(event)
        elif event == "map_key":
            self._stack[-1].key = value
        elif event in ("start_map", "start_array"):
            self._begin(is_map=event == "start_map")
        elif event in ("end_map", "end_array"):
            self._end(_MORE_OF)
        else:
            self._leaf(event, value)

    def finish(self) -> None:
        """No more comes, because enough was looked at: close what is open, its counts left open."""
        while self._stack:
            self._end(_MORE_AT_LEAST)

    def _skip(self, event: str) -> None:
        if event.startswith("start_"):
            self._skipping += 1
        elif event.startswith("end_"):
            self._skipping -= 1

    def _begin(self, *, is_map: bool) -> None:
        kind = "object" if is_map else "array"
        kept = self._counted(kind)
        if len(self._stack) > 1 and (not kept or len(self._stack) >= DEPTH):
            # Direct children of the root are always counted, for the structure.
            if kept:
                self._put("{...}" if is_map else "[...]")
            self._skipping = 1
            return
        opened = _Open(({} if is_map else []) if kept else None, is_map)
        if kept:
            self._put(opened.value)
        self._stack.append(opened)

    def _end(self, more: "_Words") -> None:
        done = self._stack.pop()
        if isinstance(done.value, dict) and (done.count > len(done.value) or more is _MORE_AT_LEAST):
            done.value[_MORE] = more(done.count - len(done.value), "keys")
        elif isinstance(done.value, list) and (done.count > len(done.value) or more is _MORE_AT_LEAST):
            done.value.append(more(done.count - len(done.value), "items"))
        if len(self._stack) == 1 and self._stack[0].is_map:
            self.structure[self._stack[0].key] = _described(done, exact=more is _MORE_OF)

    def _leaf(self, event: str, value: Any) -> None:
        if len(self._stack) == 1 and self._stack[0].is_map and len(self.structure) < KEYS:
            self.structure[self._stack[0].key] = {
                "type": event,
                **({"length": len(value)} if event == "string" else {}),
            }
        if self._counted(event):
            self._put(_cut(value) if isinstance(value, str) else value)
            self._chars += min(len(value), TEXT_CHARS) if isinstance(value, str) else 8

    def _counted(self, kind: str) -> bool:
        """Count one more child of what is open, and say whether it is kept."""
        if not self._stack:
            return True
        parent = self._stack[-1]
        parent.count += 1
        parent.first = parent.first or kind
        if parent.is_map and len(parent.names) < KEYS:
            parent.names.append(parent.key[:TEXT_CHARS])
        most = KEYS if parent.is_map else ITEMS
        room = self._chars < PREVIEW_CHARS or len(self._stack) == 1
        return parent.value is not None and parent.count <= most and room

    def _put(self, value: Any) -> None:
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, dict):
            parent.value[parent.key[:TEXT_CHARS]] = value
            self._chars += len(parent.key)
        elif isinstance(parent.value, list):
            parent.value.append(value)


class _Words:
    """How what is left out is said."""

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact

    def __call__(self, count: int, what: str) -> str:
        return f"{_MORE}{count} more {what}" if self._exact else f"{_MORE}more {what}"


_MORE_OF: Final = _Words(exact=True)
_MORE_AT_LEAST: Final = _Words(exact=False)


def preview_of(data: bytes | memoryview, *, scan_bytes: int = SCAN_BYTES) -> Preview:
    """Look at a JSON value, at most at its first `scan_bytes` bytes. It has to be valid JSON."""
    builder = _Builder()
    events: list[tuple[str, Any]] = ijson.sendable_list()
    parser = ijson.basic_parse_coro(events, use_float=True)
    for piece in _pieces(memoryview(data)[:scan_bytes]):
        parser.send(piece)
        for event, value in events:
            builder.take(event, value)
        del events[:]
    builder.finish()
    return Preview(builder.root, builder.structure)


def _pieces(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield bytes(data[start : start + _PIECE])


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS else f"{text[:TEXT_CHARS]}{_MORE}{len(text) - TEXT_CHARS} more characters"


def _described(done: _Open, *, exact: bool) -> dict[str, Any]:
    if done.is_map:
        return {"type": "object", "keys": done.names}
    length = done.count if exact else f"over {done.count}"
    return {"type": "array", "length": length, **({"items": done.first} if done.first else {})}
