"""API keys: which are let in, and which owner each stands for."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from pydantic import SecretStr

from sandbox.errors import Unauthorized


class KeyRing:
    """The keys that are let in. Keeps digests only."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]

    def owner_of(self, key: str | None) -> str:
        """Give the owner whom `key` stands for: the same key, the same owner, for ever.

        Compares with every key in constant time, so that timing tells nothing about how close a guess came.

        Raises:
            Unauthorized: no key, or an unknown one.
        """
        if not key:
            raise Unauthorized("No API key in the request", suggested_fix="Send your key in the header x-api-key.")
        given = _digest(key)
        known = False
        for digest in self._digests:
            known |= hmac.compare_digest(given, digest)
        if not known:
            raise Unauthorized(
                "This API key is not known here", suggested_fix="Check the value of the header x-api-key."
            )
        return f"own_{given.hex()[:20]}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(b"workbench owner\0" + key.encode("utf-8", "surrogateescape")).digest()


def make_key() -> str:
    """Make a new key: `wb_` and 256 random bits."""
    return f"wb_{secrets.token_urlsafe(32)}"
