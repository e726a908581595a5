"""The image that the sandbox image starts from: one the engine has or can pull, or one that debootstrap makes."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import docker
import docker.errors
import requests

from sandbox.errors import EngineUnavailable, ImageBuildFailed
from sandbox.images.sources import DEBIAN_MIRROR, DEBIAN_SUITE, debian_mirror, debian_sources

OFFICIAL_BASE = "python:3.11-slim-bookworm"
LOCAL_BASE = f"workbench-base:{DEBIAN_SUITE}"

REGISTRY_DEADLINE_S = 20.0
"""How long a registry may take to say that it has the base image."""

DEBOOTSTRAP_DEADLINE_S = 900.0

_PACKAGES = "python3.11,python3-venv,ca-certificates"
_PHASES = {
    "Retrieving": "fetching its packages",
    "Extracting": "unpacking the core",
    "Unpacking": "unpacking the rest",
    "Configuring": "configuring it",
}
_LEFT_BY_HOST = ("etc/resolv.conf", "etc/hostname", "var/log/bootstrap.log")

Progress = Callable[[str], None]


def choose_base(client: docker.APIClient, base: str | None, progress: Progress) -> str:
    """Give the name of a base image that is on the engine now, pulled or made if need be.

    A `base` that the caller names is used or the build fails; without one it is the official slim Python image
    or, where no registry gives that, a Debian made on this machine and kept on the engine for the next time.

    Raises:
        EngineUnavailable: the engine stopped answering.
        ImageBuildFailed: the named base cannot be had, or none can be made here; the message says what to do.
    """
    wanted = base or OFFICIAL_BASE
    if _present(client, wanted):
        return wanted
    if base is None and _present(client, LOCAL_BASE):
        return LOCAL_BASE
    if base is not None or _registry_has(client, wanted):
        progress(f"pulling {wanted}")
        reason = _pull(client, wanted)
        if reason is None:
            return wanted
        if base is not None:
            raise ImageBuildFailed(f"the base image {base} cannot be pulled: {reason}")
    progress(f"no registry gives {wanted}: making a Debian {DEBIAN_SUITE} base with debootstrap")
    _make(client, progress)
    return LOCAL_BASE


def _present(client: docker.APIClient, image: str) -> bool:
    try:
        client.inspect_image(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def _registry_has(client: docker.APIClient, image: str) -> bool:
    """Ask, through the engine, whether the registry knows an image; a pull itself has no deadline."""
    name = f"{client.base_url}/v{client.api_version}/distribution/{image}/json"
    try:
        return bool(client.get(name, timeout=REGISTRY_DEADLINE_S).status_code == requests.codes.ok)
    except requests.Timeout:
        return False
    except requests.ConnectionError as error:
        raise EngineUnavailable(f"the engine stopped answering: {error}") from error


def _pull(client: docker.APIClient, image: str) -> str | None:
    """Pull an image; give the reason in words if that fails."""
    repository, _, tag = image.rpartition(":")
    name, tag = (repository, tag) if repository and "/" not in tag else (image, "latest")
    try:
        for event in client.pull(name, tag=tag, stream=True, decode=True):
            if "error" in event:
                return str(event["error"])
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    return None


def _make(client: docker.APIClient, progress: Progress) -> None:
    architecture = _architecture(client)
    with tempfile.TemporaryDirectory(prefix="workbench-base-", dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        _debootstrap(root, architecture, progress)
        for name in _LEFT_BY_HOST:
            (root / name).unlink(missing_ok=True)
        sources = debian_sources(DEBIAN_MIRROR, f"{DEBIAN_MIRROR}-security")
        (root / "etc/apt/sources.list").write_text(sources)
        progress(f"importing the base as {LOCAL_BASE}")
        _import(client, root)


def _architecture(client: docker.APIClient) -> str:
    """Check that this machine can make a base for the engine; give Debian's name of its architecture."""
    fix = f"let the engine reach a registry, or load an image there and name it with --base (such as {OFFICIAL_BASE})"
    if shutil.which("debootstrap") is None or shutil.which("unshare") is None:
        raise ImageBuildFailed(
            "no registry can be reached and debootstrap is not installed here",
            suggested_fix=f"as root: apt-get install debootstrap; or {fix}",
        )
    if os.geteuid() != 0:
        raise ImageBuildFailed(
            "no registry can be reached and debootstrap needs root", suggested_fix=f"run this once as root; or {fix}"
        )
    names = {"amd64": "x86_64", "arm64": "aarch64"}
    architecture = str(client.version()["Arch"])
    if names.get(architecture) != os.uname().machine:
        raise ImageBuildFailed(
            f"no registry can be reached, and the engine's architecture ({architecture}) is not this machine's",
            suggested_fix=fix,
        )
    return architecture


def _debootstrap(root: Path, architecture: str, progress: Progress) -> None:
    """Run debootstrap in mount and process namespaces of its own: nothing of it can outlive or out-mount it."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "debootstrap", "--variant=minbase"]
    command += [f"--arch={architecture}", f"--include={_PACKAGES}", DEBIAN_SUITE, str(root), debian_mirror()]
    last: list[str] = []
    phases = dict(_PHASES)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        timer = threading.Timer(DEBOOTSTRAP_DEADLINE_S, process.send_signal, [signal.SIGKILL])
        timer.start()
        try:
            for line in _lines(process.stdout):
                last = [*last[-14:], line]
                phase = phases.pop(line.removeprefix("I: ").partition(" ")[0], None)
                if phase is not None:
                    progress(f"debootstrap: {phase}")
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    if process.returncode != 0:
        raise ImageBuildFailed("debootstrap failed; it last said:\n" + "\n".join(last))


def _lines(stream: IO[str] | None) -> Iterator[str]:
    yield from (line.rstrip() for line in stream or ())


def _import(client: docker.APIClient, root: Path) -> None:
    repository, _, tag = LOCAL_BASE.partition(":")
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
        answer: Any = client.import_image_from_data(_blocks(archive.stdout), repository=repository, tag=tag)
    if archive.returncode != 0 or "error" in str(answer):
        raise ImageBuildFailed(f"the engine did not take the base: {answer!r}")


def _blocks(stream: IO[bytes] | None) -> Iterator[bytes]:
    while stream is not None and (block := stream.read(1 << 20)):
        yield block
