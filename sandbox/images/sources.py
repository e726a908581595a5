"""Reads what goes into a build: the project's own files, and what the host needs to reach its mirrors."""

import os
import re
import ssl
from pathlib import Path

import sandbox
from sandbox.errors import ConfigurationError
from sandbox.helper_source import helpers_folder
from sandbox.images.context import ContextFile, bad_pins, pip_config, under

DEBIAN_MIRROR = "http://deb.debian.org/debian"
"""Debian's own default, used when the host's package sources name no mirror of Debian."""

DEBIAN_SUITE = "bookworm"

_PACKAGE = Path(sandbox.__file__).parent
_APP = ("__init__.py", "limits.py", "errors.py", "pipe", "agent")
_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_APT = Path("/etc/apt")
_MIRROR = re.compile(r"https?://\S+/debian/?(?=\s|$)")
_SECURITY = re.compile(r"https?://\S+/debian-security/?(?=\s|$)")


def packages_files() -> list[ContextFile]:
    """Read what the packages image is made of: Dockerfile, install scripts, package lists, pins.

    Raises:
        ConfigurationError: the constraints file has more than names and versions in it.
    """
    folder = _PACKAGE / "_images"
    installed = folder.is_dir()
    images = folder if installed else _PACKAGE.parent / "images"
    pins = (images if installed else _PACKAGE.parent) / "constraints.txt"
    constraints = pins.read_text()
    if bad := bad_pins(constraints):
        raise ConfigurationError(f"{pins} has lines that are not `name==version`: {bad[:3]}")
    return [
        ContextFile("Dockerfile", (images / "Dockerfile").read_bytes()),
        ContextFile("agent.Dockerfile", (images / "agent.Dockerfile").read_bytes()),
        ContextFile("constraints.txt", constraints.encode()),
        *under("install", _tree(images / "install")),
        *under("packages", _tree(images / "packages")),
    ]


def app_files() -> list[ContextFile]:
    """Read our code that runs inside a sandbox: the agent and what it imports."""
    ours: list[ContextFile] = []
    for name in _APP:
        path = _PACKAGE / name
        ours += under(name, _tree(path)) if path.is_dir() else [ContextFile(name, path.read_bytes())]
    return under("app/sandbox", ours)


def helper_files() -> list[ContextFile]:
    """Read the helpers, which run inside a sandbox with the user's interpreter."""
    return under("helpers", _tree(helpers_folder()))


def build_env_files() -> list[ContextFile]:
    """Read what lets a build reach this host's mirrors: CA bundle, pip settings, Debian mirror."""
    apt = ['Acquire::https::CaInfo "/build-env/ca.pem";', 'Acquire::Retries "3";']
    if debian_mirror() != DEBIAN_MIRROR:
        apt += ['Dir::Etc::SourceList "/build-env/sources.list";', 'Dir::Etc::SourceParts "/dev/null";']
    return under(
        "build-env",
        [
            ContextFile("ca.pem", _ca_bundle()),
            ContextFile("pip.conf", pip_config(os.environ).encode()),
            ContextFile("sources.list", debian_sources(debian_mirror(), _named(_SECURITY)).encode()),
            ContextFile("apt.conf", ("\n".join(apt) + "\n").encode()),
        ],
    )


def debian_mirror() -> str:
    """Give the mirror of Debian that the host's package sources name, or Debian's own default."""
    return _named(_MIRROR) or DEBIAN_MIRROR


def debian_sources(mirror: str, security: str | None) -> str:
    """Write a sources.list for a mirror; without one of the security archive, that archive is left out."""
    lines = [f"deb {mirror} {DEBIAN_SUITE} main", f"deb {mirror} {DEBIAN_SUITE}-updates main"]
    if security:
        lines.append(f"deb {security} {DEBIAN_SUITE}-security main")
    return "\n".join(lines) + "\n"


def _named(pattern: re.Pattern[str]) -> str | None:
    """Find the first address of a kind in the host's package sources, comments left out."""
    files = (_APT / "sources.list", *sorted(_APT.glob("sources.list.d/*.*")))
    for file in files:
        if file.is_file():
            lines = file.read_text().splitlines()
            if found := pattern.search("\n".join(line for line in lines if not line.lstrip().startswith("#"))):
                return found.group().rstrip("/")
    return None


def _ca_bundle() -> bytes:
    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
    for candidate in (named, *_SYSTEM_BUNDLES):
        if candidate and Path(candidate).is_file():
            return Path(candidate).read_bytes()
    raise ConfigurationError(
        "no bundle of certificate authorities was found on this machine",
        suggested_fix="install the package ca-certificates, or name a bundle in SSL_CERT_FILE",
    )


def _tree(folder: Path) -> list[ContextFile]:
    """Read a folder's files, compiled Python left out, as paths relative to it."""
    return [
        ContextFile(path.relative_to(folder).as_posix(), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
