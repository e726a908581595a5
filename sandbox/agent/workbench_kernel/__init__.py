"""What the kernel's process runs. `kernel_launch.py` imports it in the user's interpreter: it imports nothing of ours.

Read `main` first. Text goes straight to file descriptors 1 and 2 (`streams`) and never over iopub, so what children, C
extensions and threads write is captured the same way as what Python prints.
"""
