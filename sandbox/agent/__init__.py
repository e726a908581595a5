"""What runs inside the sandbox as its process 1: it serves the pipe with a kernel, bash and files."""
