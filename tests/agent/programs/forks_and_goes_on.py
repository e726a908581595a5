"""A cell that forks and lets the child return into the kernel."""

# ruff: noqa: T201

import os

print("once")
child = os.fork()
