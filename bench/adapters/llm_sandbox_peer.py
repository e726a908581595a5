"""llm-sandbox: its interactive session on the same engine and image; each session is a container.

Its default image comes from a registry. Here the image of workbench stands in, with what the library expects
to find when it is told to skip its own set-up: a virtual environment in its working folder.
"""

import io
import os
from importlib.metadata import version
from typing import Any

import docker
from llm_sandbox import InteractiveSandboxSession
from llm_sandbox.exceptions import SandboxTimeoutError

from bench.adapters.base import Cannot, Result, TimedOut, resident_mb
from bench.adapters.serve import serve
from bench.environment import IMAGE, LABEL, RUN

DOCKERFILE = """FROM {image}
USER root
RUN mkdir /sandbox && ln -s /home/user/.venv /sandbox/.sandbox-venv
ENTRYPOINT []
CMD ["sleep", "infinity"]
"""
MEMORY = "1g"


class SandboxSession:
    """A container with an interpreter that lives on between calls."""

    def __init__(self, image: str, labels: dict[str, str], timeout_s: int) -> None:
        self._timeout_s = timeout_s
        self._session: Any = InteractiveSandboxSession(
            image=image,
            timeout=timeout_s,
            max_memory=MEMORY,
            skip_environment_setup=True,
            keep_template=True,
            runtime_configs={"network_mode": "none", "labels": labels},
        )
        self._session.open()

    def run(self, code: str) -> Result:
        """Run it in the living interpreter."""
        try:
            answer = self._session.run(code)
        except SandboxTimeoutError as error:
            raise TimedOut from error
        return Result(answer.stdout + answer.stderr, answer.exit_code != 0)

    def bash(self, command: str) -> None:
        """By its call for commands."""
        answer = self._session.execute_command(f"bash -c {command}")
        if answer.exit_code:
            raise OSError(f"{command} gave {answer.exit_code}: {answer.stderr}")

    def recover(self) -> str:
        """There is no call; it sends an interrupt by itself at its timeout."""
        raise Cannot("no interrupt")

    def memory(self) -> tuple[float, str]:
        """All processes of the container; the remark has what the engine counts."""
        container = self._session.container
        listed = container.top()
        column = listed["Titles"].index("PID")
        megabytes = resident_mb([int(row[column]) for row in listed["Processes"]])
        memory = container.stats(stream=False)["memory_stats"]
        cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        return megabytes, f"all processes; by `docker stats` {(memory['usage'] - cache) / 1e6:.0f} MB"

    def close(self) -> None:
        """Close the session, which removes the container."""
        self._session.close()


class LlmSandbox:
    """The image that its sessions use."""

    def __init__(self) -> None:
        self.versions = {name: version(name) for name in ("llm-sandbox", "docker")}
        self.installations: list[str] = []
        run = os.environ[RUN]
        self._labels = {LABEL: run}
        self._client = docker.from_env()
        self._image = f"workbench-peers:{run}"
        text = DOCKERFILE.format(image=os.environ[IMAGE]).encode()
        self._client.images.build(fileobj=io.BytesIO(text), tag=self._image, labels=self._labels, rm=True, forcerm=True)

    def open(self, timeout_s: int) -> SandboxSession:
        """Start a container and the interpreter in it."""
        return SandboxSession(self._image, self._labels, timeout_s)

    def open_pooled(self) -> SandboxSession:
        """Its pool gives sessions that forget variables."""
        raise Cannot("its pool has no interactive sessions")

    def close(self) -> None:
        """Remove the image."""
        self._client.images.remove(self._image, force=True)
        self._client.close()


if __name__ == "__main__":
    serve(LlmSandbox)
