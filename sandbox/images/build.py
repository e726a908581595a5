"""Builds the sandbox image through the engine's API; what is up to date is not built again."""

import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import docker
import docker.errors
import requests

import sandbox
from sandbox.errors import EngineUnavailable, ImageBuildFailed, RuntimeFault
from sandbox.images.base import choose_base
from sandbox.images.context import (
    ContextFile,
    fingerprint,
    needs_host_network,
    pack,
    proxy_arguments,
)
from sandbox.images.sources import app_files, build_env_files, helper_files, packages_files

Variant = Literal["default", "full"]
Progress = Callable[[str], None]

DEFAULT_TAG: Final = f"workbench-sandbox:{sandbox.__version__}"
LABEL_FINGERPRINT: Final = "workbench.image.fingerprint"
LABEL_VERSION: Final = "workbench.image.version"
LABEL_VARIANT: Final = "workbench.image.variant"
LABEL_BASE: Final = "workbench.image.base"
LABEL_STAGE: Final = "workbench.image.stage"

_PACKAGES_REPOSITORY = "workbench-packages"
_LAST_LINES = 25
_NO_NETWORK = (
    "Temporary failure resolving",
    "Could not resolve",
    "Name or service not known",
    "Network is unreachable",
)


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image on the engine. `seconds` is what this build took; `base` is what the image stands on."""

    tag: str
    id: str
    size_bytes: int
    seconds: float
    base: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a build is made of, before any engine is asked."""

    packages: list[ContextFile]
    app: list[ContextFile]
    packages_print: str
    image_print: str
    packages_tag: str


def image_is_current(
    client: docker.APIClient, *, tag: str = DEFAULT_TAG, variant: Variant | None = None, base: str | None = None
) -> bool:
    """Tell whether the engine's image is made of exactly the files that are here now.

    Without a variant, it is the one that the image says it is; without a base, any base will do.

    Raises:
        EngineUnavailable: the engine does not answer.
    """
    try:
        labels = _labels(client, tag)
    except (requests.RequestException, docker.errors.DockerException) as error:
        raise _mapped(error) from error
    chosen: Variant = variant or ("full" if labels.get(LABEL_VARIANT) == "full" else "default")
    return _is_current(labels, _plan(chosen).image_print, base)


def build_image(
    client: docker.APIClient,
    *,
    tag: str = DEFAULT_TAG,
    variant: Variant = "default",
    base: str | None = None,
    progress: Callable[[str], None],
) -> BuiltImage:
    """Build the sandbox image, or as much of it as is not up to date. Takes seconds to minutes.

    `base` is the image to start from (None: the official slim Python image, else a Debian made here).
    `progress` gets one line of words at a time.

    Raises:
        EngineUnavailable: the engine does not answer.
        ImageBuildFailed: a step failed; the message has the last lines of its output.
        ConfigurationError: the files of the build are not in order.
    """
    began = time.monotonic()
    plan = _plan(variant)
    try:
        if not _is_current(_labels(client, tag), plan.image_print, base):
            if not _is_current(_labels(client, plan.packages_tag), plan.packages_print, base):
                _build_packages(client, plan, variant, choose_base(client, base, progress), progress)
            progress("adding the agent")
            _build_agent(client, plan, tag, progress)
            _forget_dangling(client, f"{LABEL_STAGE}=sandbox")
        image = client.inspect_image(tag)
    except (requests.RequestException, docker.errors.DockerException) as error:
        raise _mapped(error) from error
    seconds = time.monotonic() - began
    return BuiltImage(tag, image["Id"], image["Size"], seconds, image["Config"]["Labels"].get(LABEL_BASE, ""))


def _is_current(labels: Mapping[str, str], wanted_print: str, base: str | None) -> bool:
    return labels.get(LABEL_FINGERPRINT) == wanted_print and base in (None, labels.get(LABEL_BASE))


def _plan(variant: Variant) -> _Plan:
    packages = packages_files()
    app = [*app_files(), *helper_files()]
    agent = [file for file in packages if file.path == "agent.Dockerfile"]
    packages = [file for file in packages if file.path != "agent.Dockerfile"]
    packages_print = fingerprint(packages, variant)
    image_print = fingerprint([*agent, *app], packages_print, sandbox.__version__)
    packages_tag = f"{_PACKAGES_REPOSITORY}:{variant}-{packages_print[:12]}"
    return _Plan(packages, [*agent, *app], packages_print, image_print, packages_tag)


def _build_packages(client: docker.APIClient, plan: _Plan, variant: Variant, base: str, progress: Progress) -> None:
    """Build the packages image: minutes. The stage that saw the host's settings is removed at the end."""
    proxies = proxy_arguments(os.environ)
    labels = {LABEL_FINGERPRINT: plan.packages_print, LABEL_VARIANT: variant, LABEL_BASE: base}
    progress(f"building the packages image ({variant}) on {base}")

    def attempt(network: str | None) -> None:
        _run(
            client,
            [*plan.packages, *build_env_files()],
            progress,
            tag=plan.packages_tag,
            dockerfile="Dockerfile",
            buildargs={"BASE": base, "VARIANT": variant, **proxies},
            labels=labels,
            network_mode=network,
        )

    network = "host" if needs_host_network(proxies) else None
    try:
        attempt(network)
    except ImageBuildFailed as error:
        if network == "host" or not any(sign in error.message for sign in _NO_NETWORK):
            raise
        progress("the engine's own network reaches no mirror: building again on the host's network")
        attempt("host")
    _remove_leftovers(client, plan, variant)


def _build_agent(client: docker.APIClient, plan: _Plan, tag: str, progress: Progress) -> None:
    _run(
        client,
        plan.app,
        progress,
        tag=tag,
        dockerfile="agent.Dockerfile",
        buildargs={"PACKAGES": plan.packages_tag},
        labels={
            LABEL_FINGERPRINT: plan.image_print,
            LABEL_VERSION: sandbox.__version__,
            LABEL_STAGE: "sandbox",
        },
        network_mode="none",
    )


def _run(client: docker.APIClient, files: Iterable[ContextFile], progress: Progress, **options: Any) -> None:
    """Run one build to its end, telling its steps. `options` are those of docker-py's `build`."""
    context = io.BytesIO(pack(files))
    last: deque[str] = deque(maxlen=_LAST_LINES)
    events = client.build(fileobj=context, custom_context=True, rm=True, forcerm=True, decode=True, **options)
    for event in events:
        for line in str(event.get("stream", "")).splitlines():
            if words := line.strip():
                last.append(words)
                if words.startswith("==> "):
                    progress(words.removeprefix("==> "))
        if "error" in event:
            raise ImageBuildFailed(f"building {options['tag']} failed: {event['error']}\n" + "\n".join(last))
    if not options["labels"].items() <= _labels(client, options["tag"]).items():
        raise ImageBuildFailed(f"the engine stopped building {options['tag']}; it last said:\n" + "\n".join(last))


def _labels(client: docker.APIClient, tag: str) -> dict[str, str]:
    """Give the labels of an image; none when the engine does not have it."""
    try:
        return dict(client.inspect_image(tag)["Config"]["Labels"] or {})
    except docker.errors.ImageNotFound:
        return {}


def _remove_leftovers(client: docker.APIClient, plan: _Plan, variant: Variant) -> None:
    """Remove the first stage, which has the host's settings in it, and packages images of older lists."""
    _forget_dangling(client, f"{LABEL_STAGE}=rootfs")
    images = client.images(name=_PACKAGES_REPOSITORY, filters={"label": f"{LABEL_VARIANT}={variant}"})
    tags = [tag for image in images for tag in image["RepoTags"] or ()]
    _forget(client, [tag for tag in tags if tag != plan.packages_tag])


def _forget_dangling(client: docker.APIClient, label: str) -> None:
    """Remove images with this label that no tag names any more."""
    _forget(client, [image["Id"] for image in client.images(filters={"dangling": True, "label": label})])


def _forget(client: docker.APIClient, names: Iterable[str]) -> None:
    """Remove images that nothing stands on; a container or another image may keep one a little longer."""
    for name in names:
        with suppress(docker.errors.APIError):
            client.remove_image(name)


def _mapped(error: Exception) -> RuntimeFault:
    """Map what docker-py raises: the engine refused something, or did not answer at all."""
    if isinstance(error, docker.errors.APIError):
        return ImageBuildFailed(f"the engine refused a step of the build: {error.explanation or error}")
    return EngineUnavailable(
        f"the engine does not answer: {error}",
        suggested_fix="start Docker (`make engine` does it where it can), or point DOCKER_HOST at an engine",
    )
