"""The API keys as everything but their holders knows them: by owner ids."""

from pydantic import SecretStr

from sandbox.api.keys import KeyRing
from sandbox.config import Settings
from sandbox.doctor.finding import Finding, Outcome


def owners(settings: Settings) -> Finding:
    """Name the owner ids of the keys; `key_overrides` may name no others."""
    keys = settings.api_keys
    if not keys and settings.key_path.is_file():
        keys = (SecretStr(settings.key_path.read_text(encoding="utf-8").strip()),)
    ring = KeyRing(keys)
    owners = [ring.owner_of(key.get_secret_value()) for key in keys]
    unknown = sorted(set(settings.key_overrides) - set(owners))
    words = f"owner ids: {', '.join(owners)}" if owners else "none yet; one is made when the server starts"
    if unknown:
        fix = "Use the owner ids above, or remove them."
        return Finding("API keys", Outcome.FAILED, f"{words}; key_overrides names others: {', '.join(unknown)}", fix)
    return Finding("API keys", Outcome.OK, words)
