"""The child's side of the line protocol: requests on standard input, answers on what was standard output."""

import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from bench.adapters.base import Cannot, Peer
from bench.adapters.probes import Probes
from bench.protocol import Answer, Ready, Request, decode_request, encode

WORDS_MAX = 300


def serve(start: Callable[[], Peer]) -> None:
    """Start a peer, answer until the input ends, end the peer. A peer that does not start ends the child."""
    out = _private_output()
    peer = start()
    try:
        probes = Probes(peer)
    except BaseException:
        peer.close()
        raise
    try:
        _say(out, encode(Ready(peer.versions, peer.installations)))
        for line in sys.stdin.buffer:
            _say(out, encode(_answer(probes, decode_request(line))))
    finally:
        probes.close()


def _answer(probes: Probes, request: Request) -> Answer:
    try:
        return probes.answer(request)
    except Cannot as cannot:
        return Answer(request.probe, cannot=str(cannot))
    except Exception as error:  # noqa: BLE001  a border: whatever a peer raises is its answer to this probe
        return Answer(request.probe, error=f"{type(error).__name__}: {error}"[:WORDS_MAX])


def _private_output() -> BinaryIO:
    """What libraries and kernels print goes to standard error: the protocol has its descriptor for itself."""
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(private, "wb")


def _say(out: BinaryIO, line: bytes) -> None:
    out.write(line)
    out.flush()
