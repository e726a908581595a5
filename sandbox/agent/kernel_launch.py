"""Runs the package `workbench_kernel` beside it, after what has to be done before its first import. Run by file path.

python kernel_launch.py FOLDER READY_FD
"""

import importlib.util
import sys
import types
from importlib.machinery import PathFinder
from typing import Any

SERVED = "jupyter_client.connect"

KERNEL = "workbench_kernel"
"""By path and under a name of its own: what lies in the user's folders neither shadows it nor is shadowed."""


class LeanPackage(types.ModuleType):
    """`jupyter_client` without its clients and managers, which a kernel has no use for; they cost memory and time.

    Its modules can be imported. What is asked of the package itself comes from SERVED, as ipykernel needs; when
    that does not have it, the package is made whole, so user code finds all of it.
    """

    def __getattr__(self, name: str) -> Any:
        """Give what the package has not yet."""
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        served = importlib.import_module(SERVED)
        if hasattr(served, name):
            return getattr(served, name)
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def launch() -> None:
    """Make the imports lean, then become the kernel."""
    # Not the agent's folder: its modules must not shadow the user's or a library's.
    folder = sys.path.pop(0)
    if (package := importlib.util.find_spec("jupyter_client")) is not None:
        sys.modules["jupyter_client"] = importlib.util.module_from_spec(package)
        sys.modules["jupyter_client"].__class__ = LeanPackage
    spec = PathFinder.find_spec(KERNEL, [folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"{KERNEL} is not beside this file")
    kernel = sys.modules[KERNEL] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernel)
    importlib.import_module(f"{KERNEL}.main").main()


if __name__ == "__main__":
    launch()
