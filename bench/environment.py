"""Names that the bench and its children share through the environment and through labels."""

from typing import Final

RUN: Final = "WORKBENCH_PEERS_RUN"
"""A token of one run of one peer: all its processes inherit it, and its containers and images carry it as `LABEL`."""

IMAGE: Final = "WORKBENCH_PEERS_IMAGE"
"""The sandbox image, for peers that make containers."""

LABEL: Final = "workbench.peers.run"
