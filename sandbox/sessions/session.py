"""What a session is: a plain value, as the store keeps it. Its sandbox is not part of it."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

DEFAULT_NAME: Final = "default"

_LABEL_PREFIX: Final = "label/"
_USER_PREFIX: Final = "user/"
_PLAIN_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Session:
    """A session of one owner.

    `owner`: whose it is (made from an API key, never the key itself). `name`: unique among the owner's
    sessions that are not deleted; None for a session that is known by its id only. `config`: JSON values.
    `last_used_at`: None when it never had a sandbox; up to `touch_interval_s` late.
    """

    id: str
    owner: str
    name: str | None
    user_id: str | None
    created_at: datetime
    updated_at: datetime
    config: dict[str, Any] = field(default_factory=dict)
    config_version: int = 1
    sandbox_size: str = "standard"
    last_used_at: datetime | None = None

    @property
    def label(self) -> str | None:
        """The label that the client made up, if that is how it is known (a long or odd one only as its digest)."""
        if self.name is None or not self.name.startswith(_LABEL_PREFIX):
            return None
        return self.name.removeprefix(_LABEL_PREFIX)

    def idle_s(self, now: datetime, *, late_s: float) -> float:
        """Give the seconds for which nobody has used it for certain: `last_used_at` may be `late_s` late."""
        if self.last_used_at is None:
            return 0.0
        return max(0.0, (now - self.last_used_at).total_seconds() - late_s)


def name_of(ref: str | None, user_id: str | None) -> str:
    """Give the name of the session that a request means: by label, else by user, else the owner's default.

    Any text works as a label. One that is long, or that a database cannot hold, is known by its digest.
    """
    if ref:
        return _LABEL_PREFIX + _plain(ref)
    if user_id:
        return _USER_PREFIX + _plain(user_id)
    return DEFAULT_NAME


def storable(text: str) -> str:
    """Give the text without what a database refuses (NUL, half surrogate pairs), and bounded."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")[:500]


def _plain(text: str) -> str:
    # A colon cannot be the first character of a plain one, so no text can pass for the digest of another.
    if len(text) <= _PLAIN_MAX and text.isprintable() and not text.startswith(":"):
        return text
    return ":sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
