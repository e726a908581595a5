"""The reference: a default ipykernel on this machine behind jupyter_client's blocking client."""

from subprocess import DEVNULL
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

START_TIMEOUT_S: Final = 60.0
CALL_TIMEOUT_S: Final = 300.0


class RawKernel:
    """A kernel of this machine: started when entered, ended when left."""

    def __enter__(self) -> Self:
        """Start it and wait until it is ready; what `KernelManager` does by default, nothing tuned."""
        self._manager = KernelManager()
        self._manager.start_kernel(stdout=DEVNULL, stderr=DEVNULL)
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=START_TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def run(self, code: str) -> int:
        """Execute and wait for its reply and its `idle`; give the characters of output that came."""
        message = self._client.execute(code)
        chars = 0
        while True:
            said = self._of(self._client.get_iopub_msg(timeout=CALL_TIMEOUT_S), message)
            if said is None:
                continue
            kind, content = said
            if kind == "stream":
                chars += len(content["text"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        while self._of(self._client.get_shell_msg(timeout=CALL_TIMEOUT_S), message) is None:
            pass
        return chars

    @staticmethod
    def _of(said: dict[str, Any], message: str) -> tuple[str, dict[str, Any]] | None:
        """Kind and content, if it is about `message`."""
        if said["parent_header"].get("msg_id") != message:
            return None
        return said["msg_type"], said["content"]
