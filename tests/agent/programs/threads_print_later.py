"""A cell whose thread prints after the cell has ended: when somebody writes to the pipe `go_on`."""

# ruff: noqa: T201

import os
import threading
from pathlib import Path

os.mkfifo("go_on")


def later() -> None:
    with Path("go_on").open():
        print("from a thread, later", flush=True)


threading.Thread(target=later).start()
