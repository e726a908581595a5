"""What the bench asks the engine: a bare exec, memory of a container, its first process."""

from typing import TYPE_CHECKING

from sandbox.config import Settings
from sandbox.engine_client import engine_client

if TYPE_CHECKING:
    import docker


class EngineView:
    """The sandboxes of one installation, seen from the engine."""

    def __init__(self, found: Settings) -> None:
        self._client: docker.APIClient = engine_client(found)

    def close(self) -> None:
        """Let go of the engine."""
        self._client.close()

    def containers(self, installation: str) -> list[str]:
        """Give the ids of its running containers."""
        return _containers(self._client, installation)

    def exec_true(self, container: str) -> None:
        """`docker exec CONTAINER true`, by the engine's API."""
        made = self._client.exec_create(container, ["true"])
        self._client.exec_start(made["Id"])

    def memory_mb(self, container: str) -> float:
        """Memory as `docker stats` shows it: usage without the inactive file cache."""
        memory = self._client.stats(container, stream=False, one_shot=True)["memory_stats"]
        cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        return float(memory["usage"] - cache) / 1e6

    def first_process(self, container: str) -> int:
        """Process id of its agent, on the engine's machine."""
        return int(self._client.inspect_container(container)["State"]["Pid"])


def remove_installation(found: Settings, installation: str) -> None:
    """Remove all containers of an installation with their files."""
    client = engine_client(found)
    for container in _containers(client, installation):
        client.remove_container(container, force=True, v=True)
    client.close()


def _containers(client: "docker.APIClient", installation: str) -> list[str]:
    from sandbox.runtimes.docker_spec import LABEL_INSTALLATION  # noqa: PLC0415

    found = client.containers(all=True, filters={"label": [f"{LABEL_INSTALLATION}={installation}"]})
    return [str(entry["Id"]) for entry in found]
