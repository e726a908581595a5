"""How the helper calls of one sandbox have ended, until its agent has heard it. Pure, and bounded."""

from typing import Final

from sandbox.limits import HELPER_CALLS_MAX, MIB
from sandbox.pipe.frames import HelperEnd

_KEPT_MAX: Final = 2 * HELPER_CALLS_MAX
_KEPT_BYTES: Final = 8 * MIB
_LOST: Final = (
    "the answer to this call was lost on its way with the pipe to the sandbox; the call was done, not repeated"
)


class HelperEndings:
    """Endings in their order. Over the bounds the oldest are dropped: first what is in them, then that they were."""

    def __init__(self, *, kept: int = _KEPT_MAX, size: int = _KEPT_BYTES) -> None:
        self._most = kept
        self._most_bytes = size
        self._endings: dict[str, HelperEnd] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._endings)

    def get(self, call_id: str) -> HelperEnd | None:
        """Give the ending of a call, as far as it is kept."""
        return self._endings.get(call_id)

    def add(self, end: HelperEnd) -> None:
        """Keep an ending."""
        self._endings[end.id] = end
        self._size += _size(end)
        if len(self._endings) > self._most:
            self._drop(next(iter(self._endings)))
        if self._size > self._most_bytes:
            self._empty_oldest(keep=end.id)

    def heard(self, call_id: str) -> None:
        """The agent has heard this ending, and all before it."""
        if call_id not in self._endings:
            return
        for known in list(self._endings):
            self._drop(known)
            if known == call_id:
                return

    def _drop(self, call_id: str) -> None:
        self._size -= _size(self._endings.pop(call_id))

    def _empty_oldest(self, *, keep: str) -> None:
        for call_id, end in self._endings.items():
            if self._size <= self._most_bytes or call_id == keep:
                return
            empty = HelperEnd(call_id, error=_LOST)
            if _size(end) > _size(empty):
                self._size += _size(empty) - _size(end)
                self._endings[call_id] = empty


def _size(end: HelperEnd) -> int:
    return len(end.result) + len(end.error) + len(end.id)
