"""`python -m sandbox.cli`: the same as `workbench`."""

from sandbox.cli import main

if __name__ == "__main__":
    main()
