"""Links that work without a key until they expire: the parameters of a URL, signed by the controller. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from sandbox.errors import Forbidden

_EXPIRED: Final = "Ask for a new link."


@dataclass(frozen=True, slots=True)
class LinkSigner:
    """Signs what a link may be used for. `key`: a secret of this installation."""

    key: bytes

    def sign(self, action: str, path: str, expires: int) -> str:
        """Give the query string of a link to `path` that allows `action` until `expires` (epoch seconds)."""
        return urlencode({"expires": expires, "signature": self._signature(action, path, expires)})

    def check(self, action: str, path: str, query: Mapping[str, str], now: float) -> None:
        """Accept the query string of such a link.

        Raises:
            Forbidden: it has expired, or was not signed for this.
        """
        given, expires = query.get("signature", ""), query.get("expires", "")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 12):
            raise Forbidden("The link is not complete: it has no time of expiry", suggested_fix=_EXPIRED)
        expected = self._signature(action, path, int(expires))
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
            raise Forbidden("The link is not valid: its signature is not for this", suggested_fix=_EXPIRED)
        if now >= int(expires):
            raise Forbidden("The link has expired", suggested_fix=_EXPIRED)

    def _signature(self, action: str, path: str, expires: int) -> str:
        # The parts are separated by a character that none of them has.
        message = "\n".join((action, quote(path, safe="/"), str(expires)))
        return hmac.new(self.key, message.encode(), hashlib.sha256).hexdigest()
