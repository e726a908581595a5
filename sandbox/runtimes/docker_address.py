"""Where the engine is: from docker's usual environment, or from a setting. Pure but for looking which socket exists."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sandbox.errors import ConfigurationError

_TCP_PORT: Final = 2375
_TLS_PORT: Final = 2376


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificates of DOCKER_CERT_PATH. `verify`: hold the engine's certificate against `ca`."""

    ca: Path
    cert: Path
    key: Path
    verify: bool

    def context(self) -> ssl.SSLContext:
        """Make the client's context; the name is not checked when `verify` is off.

        Raises:
            ConfigurationError: a file is missing or is no certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.verify:
                context.load_verify_locations(self.ca)
            else:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(self.cert, self.key)
        except OSError as error:  # ssl.SSLError is one too
            raise ConfigurationError(
                f"the certificates in {self.cert.parent} cannot be used: {error}",
                suggested_fix="DOCKER_CERT_PATH must hold ca.pem, cert.pem and key.pem",
            ) from error
        return context


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """An engine behind a unix socket of this machine."""

    path: str

    @property
    def url(self) -> str:
        """The address as docker-py takes it."""
        return f"unix://{self.path}"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An engine behind TCP, with or without TLS."""

    host: str
    port: int
    tls: TlsFiles | None = None

    @property
    def url(self) -> str:
        """The address as docker-py takes it; never with a user or a password in it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'tcp'}://{host}:{self.port}"

    def __str__(self) -> str:
        return self.url


EngineAddress = UnixAddress | TcpAddress


def engine_address(environment: Mapping[str, str], *, url: str | None = None) -> EngineAddress:
    """Read DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as the docker command does; `url` wins over DOCKER_HOST.

    Raises:
        ConfigurationError: the kind of address is not supported; the message says what works instead.
    """
    given = url or environment.get("DOCKER_HOST") or ""
    if not given:
        return UnixAddress(_first_socket(environment))
    parts = urlsplit(given)
    if parts.scheme == "unix":
        return UnixAddress(parts.path)
    if parts.scheme in ("tcp", "http", "https"):
        tls = _tls_files(environment, asked=parts.scheme == "https")
        return TcpAddress(parts.hostname or "127.0.0.1", parts.port or (_TLS_PORT if tls else _TCP_PORT), tls)
    raise ConfigurationError(
        f"an engine at {parts.scheme or 'an address without a scheme'}:// is not supported",
        suggested_fix=_INSTEAD.get(parts.scheme, "use unix:///path/to/docker.sock or tcp://host:port"),
    )


_INSTEAD: Final = {
    "ssh": "forward the socket (ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST) and set "
    "DOCKER_HOST=unix:///tmp/engine.sock",
    "npipe": "run the controller inside WSL 2, or expose the engine on tcp:// and set DOCKER_HOST",
}


def _first_socket(environment: Mapping[str, str]) -> str:
    """The usual socket, else a rootless engine's, else Docker Desktop's; the usual one when there is none."""
    usual = "/var/run/docker.sock"
    candidates = [
        usual,
        f"{environment.get('XDG_RUNTIME_DIR', '/nonexistent')}/docker.sock",
        f"{environment.get('HOME', '/nonexistent')}/.docker/run/docker.sock",
    ]
    return next((path for path in candidates if Path(path).exists()), usual)


def _tls_files(environment: Mapping[str, str], *, asked: bool) -> TlsFiles | None:
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    folder = environment.get("DOCKER_CERT_PATH")
    if not (verify or folder or asked):
        return None
    base = Path(folder) if folder else Path(environment.get("HOME", os.sep)) / ".docker"
    # An https:// address without a word on verifying is verified: the safe reading.
    return TlsFiles(base / "ca.pem", base / "cert.pem", base / "key.pem", verify=verify or asked)
