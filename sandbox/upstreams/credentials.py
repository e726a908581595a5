"""Taking credentials out of what an upstream says, should it repeat them. Pure."""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import BaseModel, SecretStr

MARK: Final = "[credential]"

SHORTEST: Final = 8
"""Characters of a credential, at the least, in data: a shorter value could be part of what must come as it is."""

SHORTEST_IN_WORDS: Final = 4
"""The same in the words of an error, where a part more that is taken out does no harm."""

_CODED_SHORTEST: Final = 12
"""Characters of a credential in base64: a shorter one could be a part of other data by chance."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9]+")


class Scrubber:
    """Takes credentials out of texts and bytes: as they are, as programs write them in JSON and URLs, and in base64.

    `shortest`: characters of a credential that is looked for.
    """

    def __init__(self, secrets: Iterable[SecretStr], *, shortest: int = SHORTEST) -> None:
        known = {form for secret in secrets for form in _forms(secret.get_secret_value()) if len(form) >= shortest}
        self._known = [(_plain_part(form), _written(form)) for form in sorted(known, key=len, reverse=True)]

    def data(self, body: bytearray) -> bytearray:
        """Give the body as it is, or a copy without credentials when it has one."""
        for plain, written in self._known:
            if plain in body:
                clean, count = written.subn(MARK.encode(), body)
                body = bytearray(clean) if count else body
        return body

    def text(self, text: str) -> str:
        """Give the text without credentials."""
        body = bytearray(text, "utf-8", "surrogatepass")
        clean = self.data(body)
        return text if clean is body else clean.decode("utf-8", "surrogatepass")


def secrets_in(settings: object) -> Iterator[SecretStr]:
    """Give all secrets in a model, those of the models, lists and dictionaries in it too."""
    if isinstance(settings, SecretStr):
        yield settings
    elif isinstance(settings, BaseModel):
        yield from secrets_in([getattr(settings, name) for name in type(settings).model_fields])
    elif isinstance(settings, dict):
        yield from secrets_in(list(settings.values()))
    elif isinstance(settings, list | tuple):
        for each in settings:
            yield from secrets_in(each)


def _forms(secret: str) -> Iterator[str]:
    """Give what of a value must not be seen: of `Bearer abc` also the second word, of `Basic ...` what is coded so."""
    scheme, _, last = secret.strip().rpartition(" ")
    parts = {last}
    if scheme.strip().lower() == "basic":
        parts |= _decoded(last)
    yield secret
    for part in parts:
        yield part
        yield from _coded(part)


def _decoded(basic: str) -> set[str]:
    """Give user and password together, and the password alone."""
    try:
        pair = b64decode(basic, validate=True).decode()
    except ValueError:
        return set()
    return {pair, pair.partition(":")[2]}


def _coded(secret: str) -> Iterator[str]:
    """Give what base64 makes of a credential wherever it stands in a text, without what its neighbours decide too."""
    raw = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        padded = bytes(before) + raw
        first, end = (8 * before + 5) // 6, 8 * len(padded) // 6
        for code in (b64encode, urlsafe_b64encode):
            coded = code(padded).decode()[first:end]
            if len(coded) >= _CODED_SHORTEST:
                yield coded


def _plain_part(secret: str) -> bytes:
    """Give the longest part of a credential that is always written as it is: without it nothing is looked for."""
    return max(_PLAIN.findall(secret), key=len, default="").encode()


def _written(secret: str) -> re.Pattern[bytes]:
    """Make the pattern of a credential as it is, and as programs write its signs in JSON and in URLs."""
    return re.compile(b"".join(_sign(char) for char in secret))


def _sign(char: str) -> bytes:
    raw = char.encode("utf-8", "surrogatepass")
    plain = re.escape(raw)
    if char.isascii() and char.isalnum():
        return plain
    in_url = b"".join(b"%" + _digits(byte, 2) for byte in raw)
    units = char.encode("utf-16-be", "surrogatepass")
    in_json = b"".join(
        rb"\\u" + _digits(int.from_bytes(units[at : at + 2], "big"), 4) for at in range(0, len(units), 2)
    )
    space = rb"|\+" if char == " " else b""
    return b"(?:" + rb"\\?" + plain + b"|" + in_json + b"|" + in_url + space + b")"


def _digits(number: int, count: int) -> bytes:
    """Match a number in hexadecimal, its letters in either case."""
    return "".join(f"[{digit}{digit.upper()}]" for digit in f"{number:0{count}x}").encode()
