"""The `workbench` command. What is heavy is imported inside the commands, so that `--help` is quick."""

import sys

from sandbox.cli.common import console_error
from sandbox.cli.root import app
from sandbox.errors import WorkbenchError


def main() -> None:
    """Run the command line; an error of ours becomes one clear line and exit code 1."""
    try:
        app()
    except WorkbenchError as error:
        console_error(str(error), error.suggested_fix)
        sys.exit(1)
