"""The container engine, for what peers leave behind when they do not end by themselves."""

import os
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bench.environment import LABEL
from sandbox.bench.engine import remove_installation
from sandbox.config import Settings
from sandbox.engine_client import engine_client
from sandbox.errors import EngineUnavailable
from sandbox.runtimes.docker_address import engine_address

if TYPE_CHECKING:
    import docker


class Engine:
    """An engine, or none: then peers that need one do not start, and the table says so."""

    def __init__(self, found: Settings) -> None:
        self._found = found
        self._client: docker.APIClient | None = None
        self.version = "none"
        self.environment = {"DOCKER_HOST": engine_address(os.environ, url=found.docker_host).url}

    def __enter__(self) -> Self:
        try:
            self._client = engine_client(self._found)
        except EngineUnavailable:
            return self
        self.version = str(self._client.version()["Version"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def remove(self, run: str, installations: list[str]) -> None:
        """Remove the containers and images of one run of a peer, and our own installations of it."""
        if self._client is None:
            return
        marked = {"label": [f"{LABEL}={run}"]}
        for container in self._client.containers(all=True, filters=marked):
            self._client.remove_container(container["Id"], force=True, v=True)
        for image in self._client.images(filters=marked):
            self._client.remove_image(image["Id"], force=True)
        for installation in installations:
            remove_installation(self._found, installation)
