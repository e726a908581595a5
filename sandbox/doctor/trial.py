"""Proves by a real sandbox that the runtime works: starts one, uses it, looks at it, removes it."""

import secrets
import time
from contextlib import suppress
from typing import Final

from sandbox.doctor.finding import Begin, Finding, Outcome, Show
from sandbox.errors import WorkbenchError
from sandbox.limits import READY_TIMEOUT_S
from sandbox.pipe.messages import BashResult, CodeResult, Ending, GetStatus, RunBash, RunCode, Status, WaitReady
from sandbox.pipe.peer import Peer
from sandbox.runtimes import conformance
from sandbox.runtimes.base import SIZES, Runtime, SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_spec import HARDENING, broken_rules

CALL_TIMEOUT_S: Final = 30.0


async def try_sandbox(runtime: Runtime, show: Show, begin: Begin) -> bool:
    """Start a sandbox, use it, look at its hardening. False: there is none to go on with."""
    begin("starting a sandbox")
    spec = SandboxSpec(secrets.token_hex(8), _installation(), SIZES["standard"])
    began = time.monotonic()
    peer: Peer | None = None
    try:
        await runtime.create(spec)
        peer = Peer(await runtime.open(spec.sandbox_id))
        await peer.sync()
        await peer.call(WaitReady(), timeout_s=READY_TIMEOUT_S)
        show(Finding("a sandbox starts", Outcome.OK, f"{time.monotonic() - began:.2f} s to a ready kernel"))
        begin("running Python and bash in it")
        show(await _runs_both(peer))
        show(await _memory(peer))
        if isinstance(runtime, DockerRuntime):
            await _hardened(runtime, spec.sandbox_id, show)
    except WorkbenchError as error:
        words = await runtime.last_words(spec.sandbox_id)
        said = f"; the agent's last words: {words}" if words else ""
        show(Finding("a sandbox starts", Outcome.FAILED, f"{error}{said}", error.suggested_fix or ""))
        return False
    finally:
        if peer is not None:
            peer.close()
        with suppress(WorkbenchError):  # what went wrong before is what counts
            await runtime.remove(spec.sandbox_id)
    return True


async def _runs_both(peer: Peer) -> Finding:
    code = await peer.call(RunCode("print(6 * 7)"), timeout_s=CALL_TIMEOUT_S)
    bash = await peer.call(RunBash("echo $((6 * 7))"), timeout_s=CALL_TIMEOUT_S)
    for result in (code, bash):
        good = isinstance(result, CodeResult | BashResult) and result.ending is Ending.COMPLETED
        if not good or result.stdout.text != "42\n":  # type: ignore[union-attr]
            return Finding("Python and bash run", Outcome.FAILED, repr(result), "Build the image again.")
    return Finding("Python and bash run", Outcome.OK)


async def _memory(peer: Peer) -> Finding:
    status = await peer.call(GetStatus(), timeout_s=CALL_TIMEOUT_S)
    if not isinstance(status, Status) or status.memory_bytes is None:
        return Finding("memory of a sandbox", Outcome.KNOWN, "the agent cannot read it")
    words = f"{status.memory_bytes / 1e6:.0f} MB"
    if status.memory_limit_bytes is not None:
        words += f" of {status.memory_limit_bytes / 1e6:.0f} MB"
    return Finding("memory of a sandbox", Outcome.OK, words)


async def _hardened(runtime: DockerRuntime, sandbox_id: str, show: Show) -> None:
    document = await runtime.inspect_document(sandbox_id)
    broken = broken_rules(document or {})
    if not broken:
        show(Finding("hardening", Outcome.OK, f"{len(HARDENING)} rules hold on the running container"))
    for words in broken:
        show(Finding("hardening", Outcome.FAILED, words, "Use a Docker engine whose defaults are not changed."))


async def conforms(runtime: Runtime, show: Show, begin: Begin) -> None:
    """Run the conformance list."""

    def tell(result: conformance.CheckResult) -> None:
        show(_finding(result))

    begin("running the conformance list")
    await conformance.run_conformance(runtime, installation=_installation(), on_result=tell)


def _finding(result: conformance.CheckResult) -> Finding:
    if result.outcome is conformance.Outcome.PASSED:
        return Finding(result.name, Outcome.OK)
    if result.outcome is conformance.Outcome.KNOWN_FAILURE:
        return Finding(result.name, Outcome.KNOWN, result.detail)
    fix = "This runtime does not keep its contract here: report it with this line and `docker info`."
    return Finding(result.name, Outcome.FAILED, result.detail, fix)


def _installation() -> str:
    return f"doctor-{secrets.token_hex(4)}"
