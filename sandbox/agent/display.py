"""What one cell displayed: the last state of each thing, as text and as artifacts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sandbox.agent.artifacts import ArtifactStore, extension
from sandbox.agent.kernel_wire import Display, UpdateDisplay, text_of
from sandbox.limits import MIB
from sandbox.pipe.messages import Artifact

TEXT_MAX_CHARS: Final = 64 * MIB
"""Characters of displayed text that one cell keeps in memory until its end."""

_SHOWN_CHARS: Final = 256
"""Each displayed thing counts as this much more, for it takes memory even when it has no text."""

_INSTEAD_OF_TEXT: Final = ("image/", "audio/", "video/", "application/pdf")
"""Kinds whose plain text is no more than `<Figure size 640x480>`: where it was saved says more."""


@dataclass(slots=True)
class _Shown:
    """One displayed thing: its text and its artifacts, by MIME type."""

    text: str = ""
    files: dict[str, Artifact] = field(default_factory=dict)


class Displays:
    """Displays of one cell in order. `on_text` gets each new text as it comes."""

    def __init__(self, store: ArtifactStore, on_text: Callable[[str], None] | None = None) -> None:
        self._store = store
        self._on_text = on_text
        self._shown: list[_Shown] = []
        self._by_id: dict[str, _Shown] = {}
        self._chars = 0
        self._clear_next = False
        self.cut = False

    def show(self, display: Display) -> None:
        """Add a display, or give an earlier one with the same id its new state."""
        if self._clear_next:
            self.clear()
        name = display.display_id
        shown = self._by_id.get(name) if name and isinstance(display, UpdateDisplay) else None
        if shown is None and (shown := self._add()) is None:
            return
        if name and name not in self._by_id:
            self._chars += len(name)
        if name:
            self._by_id[name] = shown
        self._set(shown, display.data)

    def text(self, text: str) -> None:
        """Add a text that was not displayed, such as a page of help."""
        if (shown := self._add()) is not None:
            self._set_text(shown, text)

    def clear(self, *, wait: bool = False) -> None:
        """Take all away, now or when the next display comes."""
        self._clear_next = wait
        if wait:
            return
        for shown in self._shown:
            for artifact in shown.files.values():
                self._store.remove(artifact)
        self._shown.clear()
        self._by_id.clear()
        self._chars = 0

    def value(self) -> str:
        """Give the text of all that is shown, one after the other."""
        return "\n".join(shown.text for shown in self._shown if shown.text)

    def _add(self) -> _Shown | None:
        """Make a place for one more displayed thing; None when there are too many."""
        if self._chars + _SHOWN_CHARS > TEXT_MAX_CHARS:
            self.cut = True
            return None
        self._chars += _SHOWN_CHARS
        shown = _Shown()
        self._shown.append(shown)
        return shown

    def _set(self, shown: _Shown, data: dict[str, msgspec.Raw]) -> None:
        files, notes = {}, []
        for mime, raw in data.items():
            if extension(mime) is None:
                continue
            text = text_of(raw)
            value = raw if text is None else text
            old = shown.files.pop(mime, None)
            saved = self._store.replace(old, value) if old else self._store.save(mime, value)
            if artifact := saved or old:
                files[mime] = artifact
            if mime.startswith(_INSTEAD_OF_TEXT):
                notes.append(f"[{mime} saved: {artifact.path}]" if artifact else f"[{mime} not saved]")
        for artifact in shown.files.values():
            self._store.remove(artifact)
        shown.files = files
        self._set_text(shown, "\n".join(notes) or _plain(data))

    def _set_text(self, shown: _Shown, text: str) -> None:
        self._chars += len(text) - len(shown.text)
        if self._chars > TEXT_MAX_CHARS:
            self._chars -= len(text)
            self.cut, text = True, ""
        shown.text = text
        if self._on_text is not None and text:
            self._on_text(text + "\n")


def _plain(data: dict[str, msgspec.Raw]) -> str:
    for mime in ("text/plain", "text/markdown", "text/latex"):
        if value := text_of(data.get(mime)):
            return value
    return ""
