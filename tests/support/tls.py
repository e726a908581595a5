"""Throw-away certificates of a private authority, made with the openssl command."""

import subprocess
from pathlib import Path

_DAYS = "2"


def make_certificates(folder: Path) -> None:
    """Write ca.pem, and cert.pem and key.pem signed by it, good for a server on 127.0.0.1 and for a client."""
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", _DAYS, "-subj", "/CN=test authority"),
        *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", str(folder / "ca-key.pem"), "-out", str(folder / "ca.pem")),
    )
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "request.pem")),
    )
    _openssl(
        *("x509", "-req", "-in", str(folder / "request.pem"), "-days", _DAYS, "-CAcreateserial"),
        *("-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca-key.pem")),
        *("-extfile", str(extensions), "-out", str(folder / "cert.pem")),
    )


def _openssl(*arguments: str) -> None:
    subprocess.run(("openssl", *arguments), check=True, capture_output=True, timeout=60)
