"""A cell that is busy inside one call of C code, which looks at no signal."""

# ruff: noqa: T201

print("began", flush=True)
sum(range(10**13))
