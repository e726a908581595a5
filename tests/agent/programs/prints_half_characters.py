"""A cell that writes UTF-8 characters in halves, and bytes that are none."""

import os
import sys

sys.stdout.flush()
for byte in "é€😀".encode():
    os.write(1, bytes([byte]))
os.write(1, b"\xff\xfe\n")
