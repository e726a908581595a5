"""Freezing, thawing and resizing a container. Blocks; `DockerEngine.call` runs it. What is so already is no error."""

from http import HTTPStatus

import docker
import docker.errors

from sandbox.errors import SandboxGone
from sandbox.runtimes import docker_spec
from sandbox.runtimes.base import Condition, Size


def pause(client: docker.APIClient, container: str) -> None:
    """Freeze a container.

    Raises:
        SandboxGone: it does not run.
    """
    try:
        client.pause(container)
    except docker.errors.APIError as error:
        _accept(client, container, error, Condition.PAUSED)


def resume(client: docker.APIClient, container: str) -> None:
    """Thaw a container.

    Raises:
        SandboxGone: it neither runs nor is paused.
    """
    try:
        client.unpause(container)
    except docker.errors.APIError as error:
        _accept(client, container, error, Condition.RUNNING)


def resize(client: docker.APIClient, container: str, size: Size, cpus_max: float) -> None:
    """Give a container the limits of a size, as far as the machine has so many CPUs."""
    # The client's own call knows no NanoCpus, and the engine takes nothing else for a container that has them.
    url = client._url("/containers/{0}/update", container)  # noqa: SLF001
    response = client._post_json(url, data=docker_spec.limits(size, cpus_max))  # noqa: SLF001
    client._result(response, json=True)  # noqa: SLF001


def _accept(client: docker.APIClient, container: str, error: docker.errors.APIError, wanted: Condition) -> None:
    """Raise `error`, or what it means, unless the container is as wanted all the same."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        raise error
    info = docker_spec.info_from_inspect(client.inspect_container(container))
    if info.condition is wanted:
        return
    if info.condition in (Condition.EXITED, Condition.GONE):
        raise SandboxGone(f"sandbox {info.sandbox_id} is {info.condition}: {info.detail}") from error
    raise error
