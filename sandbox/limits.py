"""The numbers of the public contract and of the pipe, each with its source.

Shared by the controller and the agent, so both sides bound the same things the same way.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- executions (Composio contract, tool schemas) ---------------------------------------------

WORKBENCH_TIMEOUT_DEFAULT_S: Final = 600
WORKBENCH_TIMEOUT_MAX_S: Final = 780
BASH_TIMEOUT_DEFAULT_S: Final = 300
BASH_TIMEOUT_MAX_S: Final = 780
TIMEOUT_MIN_S: Final = 1

INTERRUPT_GRACE_S: Final = 3.0
"""How long interrupted code may take to end before its kernel or process group is killed."""

EXECUTIONS_QUEUED_MAX: Final = 64
"""Executions of one sandbox that may wait for its kernel; the next one is refused."""

BASH_RUNNING_MAX: Final = 32
"""Bash calls of one sandbox that may run at the same time; the next one is refused."""

# --- output (Composio contract: 40,000 characters a stream, the whole in a file) ---------------

INLINE_CHARS: Final = 40_000
"""Characters of one stream that an answer carries; from the next one on, the whole stream spills."""

SPILL_MAX_BYTES: Final = 1024 * MIB
"""Bytes of one stream that its spill file keeps; what follows is counted but not kept, and said."""

SPILL_FOLDER_MAX_BYTES: Final = 4 * SPILL_MAX_BYTES
"""Bytes of all spill files and artifacts of one sandbox together; the oldest are deleted for new ones.

Both streams of one execution, its value and the joined view of them fit; a thousand floods do not fill the host's disk.
"""

TRACEBACK_CHARS: Final = 20_000
"""Characters of a traceback that an answer carries."""

ARTIFACTS_MAX: Final = 200
"""Artifacts that one execution lists; what is displayed beyond that is counted but not saved."""

LIVE_CHARS: Final = 1_000_000
"""Characters of live output that one execution sends as progress; its answer and spill are not affected."""

LIVE_INTERVAL_S: Final = 0.05
"""Live output is gathered for this long before it is sent, so that a flood costs few messages."""

# --- pipe --------------------------------------------------------------------------------------

LINE_MAX_BYTES: Final = MIB
"""One message, its newline included."""

CHUNK_BYTES: Final = 256 * KIB
"""Raw bytes in one chunk; base64 makes it 342 KiB on the line, well under LINE_MAX_BYTES."""

CHUNK_WINDOW: Final = 8
"""Chunks of one call that may be under way without an acknowledgement."""

CALLS_PENDING_MAX: Final = 256
"""Calls in flight in one direction of one pipe."""

ENDINGS_KEPT_MAX: Final = 256
"""Endings that are kept for a controller that has not acknowledged them."""

REPLAY_CALL_BYTES: Final = 2 * LIVE_CHARS
"""Events of one execution that are kept to be said again to a controller that was not there, as lines of the pipe."""

REPLAY_BYTES: Final = 8 * REPLAY_CALL_BYTES
"""The same for all executions of a sandbox together."""

SOURCE_INLINE_BYTES: Final = 512 * KIB
"""Code or a command up to this size travels inside its call; a larger one is written to a file first."""

SOURCE_MAX_BYTES: Final = 16 * MIB
"""Largest code or command that is accepted."""

SYNC_TIMEOUT_S: Final = 15.0
"""How long an agent has to echo a sync."""

READY_TIMEOUT_S: Final = 60.0
"""How long a kernel has from its start until it takes a cell."""

CALL_SLACK_S: Final = 15.0
"""The controller waits this much longer than the agent's own deadline before it takes the agent for dead."""

# --- names in the sandbox (Composio contract, section on spill files) --------------------------

HOME_DIR: Final = "/home/user"
FILES_DIR: Final = "/mnt/files"
HELPERS_DIR: Final = "/opt/workbench/helpers"
OUTPUT_SUBDIR: Final = ".composio/output"
OUTPUT_LINK_NAME: Final = ".code_out"

# --- helper calls ------------------------------------------------------------------------------

HELPER_CALLS_MAX: Final = CALLS_PENDING_MAX
"""Helper calls of one sandbox that may be under way at the same time; more wait in the agent."""

HELPER_ACK_EVERY: Final = 32
"""Endings of helper calls that the agent acknowledges at once."""

HELPER_ARGUMENTS_INLINE_BYTES: Final = 64 * KIB
"""Arguments of a helper call up to this size travel on the line; larger ones in a file."""

HELPER_ARGUMENTS_MAX_BYTES: Final = 64 * MIB
"""Largest arguments of a helper call."""

HELPER_ARGUMENTS_HELD_BYTES: Final = 2 * HELPER_ARGUMENTS_MAX_BYTES
"""What the controller holds of arguments from files for the calls of one sandbox; further ones wait for room."""

HELPER_ANSWER_INLINE_BYTES: Final = 256 * KIB
"""The answer to a helper call up to this size travels on the line; a larger one is written to a file in the sandbox."""

MODEL_INPUT_CHARS: Final = 200_000
"""Characters of one question to a model (Composio contract, section 3)."""
