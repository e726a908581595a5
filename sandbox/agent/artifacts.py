"""Images and other rich results of one execution, saved as files beside its spills."""

import binascii
import contextlib
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sandbox.agent.spill_room import Claim
from sandbox.limits import ARTIFACTS_MAX
from sandbox.pipe.messages import Artifact

_TEXT: Final = {"image/svg+xml": "svg", "text/html": "html"}
_BASE64: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "video/mp4": "mp4",
    "video/ogg": "ogv",
    "video/webm": "webm",
}
_JSON: Final = re.compile(r"application/(?:json|vnd\.[\w.+-]{0,100}json)", re.ASCII)
"""Bounded: the answer repeats it for each artifact."""


def extension(mime: str) -> str | None:
    """Give the ending of the file that a MIME type is saved as; None when it is not saved."""
    if known := _TEXT.get(mime) or _BASE64.get(mime):
        return known
    return "json" if _JSON.fullmatch(mime) else None


def contents(mime: str, value: str | msgspec.Raw) -> bytes:
    """Give the bytes of a displayed value: a text, or what else it is as JSON.

    Raises:
        ValueError: it is not what its MIME type says.
    """
    if mime in _BASE64:
        if not isinstance(value, str):
            raise ValueError(f"{mime} is not base64 text")
        return binascii.a2b_base64(value.encode("ascii", "replace"))
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return bytes(value)


class ArtifactStore:
    """Files `{prefix}_1.png` and so on in `folder`, as far as `claim` has room for them.

    What cannot be saved is said in `problem`, never raised; what is over ARTIFACTS_MAX is counted in `dropped`.
    """

    def __init__(
        self, folder: Path, prefix: str, claim: Claim, on_saved: Callable[[Artifact], None] | None = None
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._claim = claim
        self._on_saved = on_saved
        self._numbers = 0
        self._saved: dict[str, Artifact] = {}
        self.dropped = 0
        self.problem: str | None = None

    @property
    def saved(self) -> tuple[Artifact, ...]:
        """What there is now, oldest first."""
        return tuple(self._saved.values())

    def save(self, mime: str, value: str | msgspec.Raw) -> Artifact | None:
        """Save a displayed value in a new file; None when it could not be, or was one too many."""
        if len(self._saved) >= ARTIFACTS_MAX:
            self.dropped += 1
            return None
        return self._write(mime, value, None)

    def replace(self, old: Artifact, value: str | msgspec.Raw) -> Artifact | None:
        """Save a new state in the same file; the old one stays when it cannot be."""
        return self._write(old.type, value, old)

    def remove(self, artifact: Artifact) -> None:
        """Delete an artifact's file and forget it."""
        self._saved.pop(artifact.path, None)
        with contextlib.suppress(OSError):
            os.unlink(artifact.path)  # noqa: PTH108 - a path of ours, as text

    def _write(self, mime: str, value: str | msgspec.Raw, old: Artifact | None) -> Artifact | None:
        try:
            data = contents(mime, value)
            if not self._claim.take(len(data)):
                self.problem = f"{mime} could not be saved: {self._claim.refusal}"
                return None
            path = self._put(Path(old.path), data) if old else self._create(mime, data)
        except ValueError as error:
            self.problem = f"{mime} could not be saved: {error}"
            return None
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk of the sandbox is full" if full else error.strerror
            self.problem = f"{mime} could not be saved: {reason}"
            return None
        artifact = Artifact(mime, str(path), len(data))
        self._saved[artifact.path] = artifact
        if self._on_saved is not None:
            self._on_saved(artifact)
        return artifact

    def _create(self, mime: str, data: bytes) -> Path:
        while True:
            self._numbers += 1
            path = self._folder / f"{self._prefix}_{self._numbers}.{extension(mime)}"
            try:
                _write_new(path, data)
            except FileExistsError:
                continue
            return path

    @staticmethod
    def _put(path: Path, data: bytes) -> Path:
        # Whole or not at all: a reader never sees half of the new state.
        fresh = path.with_name(f".{path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        _write_new(fresh, data)
        return fresh.replace(path)


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet, not even as a link; nothing is left when it fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except FileNotFoundError:
        # User code may delete the folder.
        _make_folder(path.parent)
        fd = os.open(path, flags, 0o644)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    """Make a folder that is not there; a link to nowhere in its place is not taken for a file that exists."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "something else is in the place of its folder") from error
