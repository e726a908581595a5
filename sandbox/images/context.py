"""Build contexts as values: files in, tar archive or fingerprint out. No disk, no engine, no environment."""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+( *;.*)?")
_PROXY_NAMES = ("http_proxy", "https_proxy", "no_proxy")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, order=True)
class ContextFile:
    """One file of a build context: its path there, with `/`, and its bytes."""

    path: str
    data: bytes


def under(folder: str, files: Iterable[ContextFile]) -> list[ContextFile]:
    """Move files below a folder of the context."""
    return [ContextFile(f"{folder}/{file.path}", file.data) for file in files]


def pack(files: Iterable[ContextFile]) -> bytes:
    """Pack files as a tar archive that depends on nothing but paths and bytes: root's, 0644, no times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in sorted(files):
            member = tarfile.TarInfo(file.path)
            member.size = len(file.data)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(file.data))
    return buffer.getvalue()


def fingerprint(files: Iterable[ContextFile], *options: str) -> str:
    """Give the 64 hex digits that change when a file or an option changes."""
    digest = hashlib.sha256()
    for part in (*options, *(item for file in sorted(files) for item in (file.path, file.data))):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def bad_pins(constraints: str) -> list[str]:
    """List the lines of a constraints file that are more than `name==version`: hashes, addresses, options."""
    lines = (line.strip() for line in constraints.splitlines())
    return [line for line in lines if line and not line.startswith("#") and not _PIN.fullmatch(line)]


def pip_config(environment: Mapping[str, str]) -> str:
    """Write the pip.conf of a build from the host's PIP_ variables; places on the host's own disk are left out."""
    lines = ["[global]", "timeout = 60", "retries = 5"]
    for variable, option in (
        ("PIP_INDEX_URL", "index-url"),
        ("PIP_EXTRA_INDEX_URL", "extra-index-url"),
        ("PIP_TRUSTED_HOST", "trusted-host"),
    ):
        words = [word for word in environment.get(variable, "").split() if not word.startswith("file:")]
        if words:
            lines.append(f"{option} = {' '.join(words)}")
    return "\n".join(lines) + "\n"


def proxy_arguments(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the build arguments that hand the host's proxies on. Engines keep these out of an image's history."""
    found: dict[str, str] = {}
    for name in _PROXY_NAMES:
        value = environment.get(name) or environment.get(name.upper())
        if value:
            found[name] = found[name.upper()] = value
    return found


def needs_host_network(proxies: Mapping[str, str]) -> bool:
    """Tell whether a proxy listens on the host's loopback, which a build on the bridge cannot reach."""
    addresses = (value for name, value in proxies.items() if name.lower() != "no_proxy")
    return any(urlsplit(value).hostname in _LOOPBACK for value in addresses)
