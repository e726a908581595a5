"""Where the source of the helpers is: beside the package in a checkout, inside it when it is installed."""

from pathlib import Path

import sandbox


def helpers_folder() -> Path:
    """Give the folder of the helpers' package."""
    package = Path(sandbox.__file__).parent
    installed = package / "_helpers"
    return installed if installed.is_dir() else package.parent / "helpers"
