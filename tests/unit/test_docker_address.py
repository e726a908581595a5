"""Where the engine is: docker's usual environment, read as the docker command does."""

from pathlib import Path

import pytest

from sandbox.errors import ConfigurationError
from sandbox.runtimes.docker_address import EngineAddress, TcpAddress, TlsFiles, UnixAddress, engine_address

CERTS = {"DOCKER_CERT_PATH": "/certs"}


def tls(*, verify: bool) -> TlsFiles:
    return TlsFiles(Path("/certs/ca.pem"), Path("/certs/cert.pem"), Path("/certs/key.pem"), verify=verify)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"DOCKER_HOST": "unix:///run/engine.sock"}, UnixAddress("/run/engine.sock")),
        ({"DOCKER_HOST": "tcp://10.0.0.1"}, TcpAddress("10.0.0.1", 2375)),
        ({"DOCKER_HOST": "tcp://engine:99"}, TcpAddress("engine", 99)),
        ({"DOCKER_HOST": "tcp://one", "DOCKER_TLS_VERIFY": "1"} | CERTS, TcpAddress("one", 2376, tls(verify=True))),
        ({"DOCKER_HOST": "tcp://engine"} | CERTS, TcpAddress("engine", 2376, tls(verify=False))),
        ({"DOCKER_HOST": "tcp://engine", "DOCKER_TLS_VERIFY": ""}, TcpAddress("engine", 2375)),
        ({"DOCKER_HOST": "https://engine"} | CERTS, TcpAddress("engine", 2376, tls(verify=True))),
        ({}, UnixAddress("/var/run/docker.sock")),
    ],
)  # fmt: skip
def test_the_environment_names_the_engine(environment: dict[str, str], expected: EngineAddress) -> None:
    assert engine_address({"HOME": "/nonexistent"} | environment) == expected


def test_a_setting_wins_over_the_environment() -> None:
    assert engine_address({"DOCKER_HOST": "tcp://other"}, url="unix:///mine.sock") == UnixAddress("/mine.sock")


@pytest.mark.parametrize(
    ("url", "instead"),
    [("ssh://user@host", "ssh -nNT -L"), ("npipe:////./pipe/docker_engine", "WSL 2"), ("engine:2375", "tcp://host:port")],
)  # fmt: skip
def test_what_is_not_supported_says_what_works_instead(url: str, instead: str) -> None:
    with pytest.raises(ConfigurationError, match="not supported") as caught:
        engine_address({}, url=url)
    assert instead in (caught.value.suggested_fix or "")


def test_an_address_is_shown_without_credentials() -> None:
    address = engine_address({}, url="tcp://name:secret@engine:99")
    assert (str(address), address.url) == ("tcp://engine:99", "tcp://engine:99")


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem", verify=True)
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        files.context()
    assert "DOCKER_CERT_PATH must hold" in (caught.value.suggested_fix or "")
