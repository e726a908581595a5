"""A cell that closes the kernel's sockets under it."""

# ruff: noqa: T201

import os

print("before", flush=True)
os.closerange(0, 4096)
