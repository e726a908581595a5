"""The last line between an upstream's words and a sandbox: no text that goes there holds a credential."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, SecretStr

MARK: Final = "[credential]"

_SHORTEST: Final = 4
"""A value below this would take words apart, and cannot be a credential."""


class Redactor:
    """Takes credentials out of texts: as they are, and as they are written in URLs and in JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """Give the text with each credential replaced."""
        return text if self._pattern is None else self._pattern.sub(MARK, text)


def secrets_in(settings: object) -> set[str]:
    """Give the values of all secrets in a model, those of the models, lists and dictionaries in it too."""
    if isinstance(settings, SecretStr):
        return {settings.get_secret_value()}
    if isinstance(settings, BaseModel):
        return secrets_in([getattr(settings, name) for name in type(settings).model_fields])
    if isinstance(settings, dict):
        return secrets_in(list(settings.values()))
    if isinstance(settings, list | tuple):
        return {secret for each in settings for secret in secrets_in(each)}
    return set()


def _forms(secret: str) -> set[str]:
    # Of `Bearer abc` the second word is the credential.
    plain = {secret, secret.rpartition(" ")[2]}
    written = {quote(each, safe="") for each in plain}
    escaped = {msgspec.json.encode(each).decode()[1:-1] for each in plain}
    return plain | written | escaped
