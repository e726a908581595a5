"""The engine, for commands that work on it directly: building and listing images, looking into containers."""

import os
from typing import TYPE_CHECKING, Final

from sandbox.errors import EngineUnavailable, ImageMissing

if TYPE_CHECKING:
    import docker

    from sandbox.config import Settings
    from sandbox.images import Variant

QUIET_MAX_S: Final = 600.0
"""A step of a build may be silent for this long."""


def engine_client(found: "Settings") -> "docker.APIClient":
    """Connect to the engine of the settings.

    Raises:
        EngineUnavailable: it does not answer.
    """
    import docker.errors  # noqa: PLC0415
    import requests  # noqa: PLC0415

    from sandbox.runtimes.docker_address import engine_address  # noqa: PLC0415
    from sandbox.runtimes.docker_engine import make_client  # noqa: PLC0415

    address = engine_address(os.environ, url=found.docker_host)
    try:
        return make_client(address, timeout_s=QUIET_MAX_S)
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineUnavailable(
            f"No Docker engine answers at {address}",
            suggested_fix="Start it (`service docker start`, or Docker Desktop), or set DOCKER_HOST.",
        ) from error


def need_image(found: "Settings") -> None:
    """See that what the settings name is there, before a controller is waited for that cannot start a sandbox.

    Raises:
        EngineUnavailable: the engine does not answer.
        ImageMissing: it does not have the image.
    """
    import docker.errors  # noqa: PLC0415

    from sandbox.config import RuntimeName  # noqa: PLC0415

    if found.runtime is not RuntimeName.DOCKER:
        return
    with engine_client(found) as client:
        try:
            client.inspect_image(found.image)
        except docker.errors.APIError as error:
            raise ImageMissing(
                f"The Docker engine does not have the image {found.image}: {error.explanation or error}",
                suggested_fix="Build it with `workbench image build`, or set another one (WORKBENCH_IMAGE).",
            ) from None


def as_built(client: "docker.APIClient", tag: str) -> "tuple[Variant, str | None]":
    """Say how the image `tag` was asked for: its variant, and its base if that was named; else the defaults.

    What is built again must not silently become another variant or stand on another base.
    """
    import docker.errors  # noqa: PLC0415

    from sandbox.images.base import LOCAL_BASE, OFFICIAL_BASE  # noqa: PLC0415
    from sandbox.images.build import LABEL_BASE, LABEL_VARIANT  # noqa: PLC0415

    try:
        labels = client.inspect_image(tag)["Config"]["Labels"] or {}
    except docker.errors.ImageNotFound:
        labels = {}
    base = labels.get(LABEL_BASE)
    chosen = base in (None, OFFICIAL_BASE, LOCAL_BASE)
    return "full" if labels.get(LABEL_VARIANT) == "full" else "default", None if chosen else base
