"""Which systems are measured, from which packages, and where each runs the code."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """A peer. `packages`: names and version ranges for pip; none means the bench's own environment."""

    name: str
    title: str
    adapter: str
    packages: tuple[str, ...]
    place: str


WORKBENCH: Final = "workbench"

ENTRIES: Final = (
    Entry(WORKBENCH, "workbench, over HTTP", "bench.adapters.workbench", (), "container: no network, no capabilities"),
    Entry(
        "jupyter-client",
        "jupyter_client, raw",
        "bench.adapters.raw_kernel",
        ("jupyter_client>=8.6,<9", "ipykernel>=7.1,<8"),
        "process of this machine, not isolated",
    ),
    Entry(
        "kernel-gateway",
        "Jupyter Kernel Gateway",
        "bench.adapters.kernel_gateway",
        ("jupyter-kernel-gateway>=3.0,<4", "ipykernel>=7.1,<8", "websocket-client>=1.8,<2"),
        "process of this machine, not isolated",
    ),
    Entry(
        "llm-sandbox",
        "llm-sandbox, interactive",
        "bench.adapters.llm_sandbox_peer",
        ("llm-sandbox[docker]>=0.3.46,<0.4",),
        "container: no network (as asked), root (its default)",
    ),
    Entry(
        "autogen",
        "AutoGen, Jupyter executor",
        "bench.adapters.autogen",
        ("autogen-ext[jupyter-executor]>=0.7.5,<0.8",),
        "process of this machine, not isolated",
    ),
)

FAIRNESS: Final = (
    "Each peer has a client process of its own that calls it as its documentation does; only those calls are timed.",
    "Rounds are interleaved, in another order each time. Ratios carry over to other machines, times do not.",
    (
        "A process of this machine has no container, no controller and no authenticated request in its way, and "
        "protects the machine from nothing. It uses this machine's Python; containers use their image's."
    ),
    "For workbench a new session is one with an empty pool. The pool holds booted sandboxes, whose memory it costs.",
    "Workbench answers with the first 40,000 characters of a stream; the rest is read from its file on demand.",
    "Kernel Gateway runs with its limit of output off: by default it drops what is over 1 MB a second, with a warning.",
    (
        "llm-sandbox runs its interactive session, the one that keeps variables, in the image of workbench, with its "
        "own set-up skipped and the container kept. It exchanges files through the engine and looks for them every "
        "0.1 s (its default). It starts the interpreter in the background of a shell, where interrupts are ignored. "
        "Its pool has only sessions without variables."
    ),
    "AutoGen's Jupyter executor is measured as a local process; its container needs an image that a registry gives.",
    "Memory is the resident memory of the processes of one idle session; pages that processes share count in each.",
)
