"""The helpers: functions that are there in every kernel without import, and the `helper` command of bash.

Each gives `(result, error)` and never raises; `error` is "" when all is well. They hold no credential: what they ask
for is done outside the sandbox. Loaded by path under the name `workbench_helpers`; imports the standard library only.
"""

from .documents import smart_file_extract
from .files import upload_local_file
from .model import invoke_llm
from .mounts import get_mount_file_s3_key, get_mount_file_url
from .proxy import proxy_execute
from .relay import begin_cell
from .search import web_search
from .tools import run_composio_tool

FUNCTIONS = (
    run_composio_tool,
    invoke_llm,
    proxy_execute,
    web_search,
    upload_local_file,
    smart_file_extract,
    get_mount_file_url,
    get_mount_file_s3_key,
)
"""What is put into the namespace of user code, each under its own name."""

__all__ = [
    "FUNCTIONS",
    "begin_cell",
    "get_mount_file_s3_key",
    "get_mount_file_url",
    "invoke_llm",
    "proxy_execute",
    "run_composio_tool",
    "smart_file_extract",
    "upload_local_file",
    "web_search",
]
