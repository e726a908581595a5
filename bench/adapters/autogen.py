"""AutoGen's Jupyter executor: nbclient and a kernel, a process of this machine."""

import asyncio
import os
import shutil
from importlib.metadata import version

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.jupyter import JupyterCodeExecutor
from nbclient.exceptions import CellTimeoutError

from bench.adapters.base import Cannot, Result, TimedOut, command_line, descendants, resident_mb
from bench.adapters.serve import serve


class AutogenSession:
    """An executor with an event loop of its own, so that sessions may be used by several threads."""

    def __init__(self, timeout_s: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._executor = JupyterCodeExecutor(timeout=timeout_s)
        self._loop.run_until_complete(self._executor.start())

    def run(self, code: str) -> Result:
        """Execute one block."""
        block = CodeBlock(code=code, language="python")
        try:
            result = self._loop.run_until_complete(self._executor.execute_code_blocks([block], CancellationToken()))
        except (TimeoutError, CellTimeoutError) as error:
            raise TimedOut from error
        return Result(result.output, result.exit_code != 0)

    def bash(self, command: str) -> None:
        """There is none in this executor; AutoGen's command line executors start a process for each block."""
        raise Cannot(f"no shell (`!{command}` in a block)")

    def recover(self) -> str:
        """There is no interrupt; `restart` begins anew."""
        self._loop.run_until_complete(self._executor.restart())
        return "restarts"

    def memory(self) -> tuple[float, str]:
        """Of the kernel, while there is one only."""
        kernels = [pid for pid in descendants(os.getpid()) if "ipykernel" in command_line(pid)]
        if len(kernels) != 1:
            raise Cannot(f"{len(kernels)} kernels are found among its processes")
        return resident_mb(kernels), "kernel"

    def close(self) -> None:
        """Stop the executor and remove its folder."""
        self._loop.run_until_complete(self._executor.stop())
        shutil.rmtree(self._executor.output_dir, ignore_errors=True)
        self._loop.run_until_complete(_settle())
        self._loop.close()


class Autogen:
    """The library has no server: each session is its own."""

    def __init__(self) -> None:
        self.versions = {name: version(name) for name in ("autogen-ext", "nbclient", "ipykernel")}
        self.installations: list[str] = []

    def open(self, timeout_s: int) -> AutogenSession:
        """Start an executor."""
        return AutogenSession(timeout_s)

    def open_pooled(self) -> AutogenSession:
        """There is no pool."""
        raise Cannot("no pool")

    def close(self) -> None:
        """Nothing is left."""


async def _settle() -> None:
    """Cancel what an execution that timed out has left behind."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


if __name__ == "__main__":
    serve(Autogen)
