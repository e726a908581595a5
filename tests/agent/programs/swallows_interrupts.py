"""A cell that does not let itself be interrupted."""

# ruff: noqa: T201

import time

print("began", flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("not now", flush=True)
