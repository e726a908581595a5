"""Loads the helpers, which cells call."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import types


def load_package(name: str, folder: str) -> types.ModuleType:
    """Load the package in a folder under a name.

    Raises:
        ImportError: there is none.
    """
    source = os.path.join(folder, "__init__.py")  # noqa: PTH118
    spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} is no Python source")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_helpers() -> types.ModuleType | None:
    """Load the helpers from the folder that WORKBENCH_HELPERS names; without them there is still a kernel.

    By path and under a name of their own: what lies in the user's folders neither shadows them nor is shadowed.
    """
    folder = os.environ.get("WORKBENCH_HELPERS")
    if not folder:
        return None
    name = "workbench_helpers"
    try:
        module = load_package(name, folder)
    except Exception as error:  # noqa: BLE001 - the border to a folder that may hold anything
        sys.modules.pop(name, None)
        sys.stderr.write(f"the helpers in {folder} cannot be loaded: {type(error).__name__}: {error}\n")
        return None
    return module
