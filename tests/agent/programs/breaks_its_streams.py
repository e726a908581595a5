"""A cell that closes and replaces every stream that it can find."""

# ruff: noqa: T201

import os
import sys

print("before")
sys.stdout.close()
sys.stderr = None
os.close(0)
os.close(1)
os.close(2)
sys.stdin = None
