"""What both roads of MCP say of themselves: the endpoint, and the relay of `workbench mcp`."""

from typing import Final

from sandbox.limits import FILES_DIR

INSTRUCTIONS: Final = f"""\
Python and bash in one sandbox that is kept between calls: variables, files and background jobs of earlier calls are \
still there. Files under {FILES_DIR} can be listed and read as resources. What an answer cuts is whole in the file \
that it names and links to.\
"""
