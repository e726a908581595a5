"""The order of the checks. They build on each other: one whose ground is missing is left out."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.config import RuntimeName, Settings
from sandbox.doctor.engine import DISK_MIN_BYTES, engine_findings
from sandbox.doctor.finding import Begin, Finding, Outcome, Show
from sandbox.doctor.keys import owners
from sandbox.doctor.trial import conforms, try_sandbox
from sandbox.doctor.upstreams import examine_upstreams
from sandbox.engine_client import as_built
from sandbox.errors import WorkbenchError
from sandbox.images import image_is_current
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import engine_address
from sandbox.runtimes.docker_engine import DockerEngine
from sandbox.runtimes.process import ProcessRuntime

if TYPE_CHECKING:
    import docker

ENGINE_TIMEOUT_S: Final = 20.0
PYTHON_MIN: Final = (3, 11)


async def examine(settings: Settings, *, quick: bool, show: Show, begin: Begin) -> None:
    """Run all checks, telling each finding as it is there. `quick` leaves out the conformance list."""
    show(_python())
    show(_data_folder(settings.data_dir))
    show(owners(settings))
    await examine_upstreams(settings, show=show, begin=begin)
    if settings.runtime is RuntimeName.PROCESS:
        await _examine_process(settings, quick=quick, show=show, begin=begin)
    else:
        await _examine_docker(settings, quick=quick, show=show, begin=begin)


async def _examine_process(settings: Settings, *, quick: bool, show: Show, begin: Begin) -> None:
    words = "the process runtime isolates nothing: code runs as this user"
    show(Finding("isolation", Outcome.KNOWN, words, "Use the docker runtime for code that you do not trust."))
    runtime = ProcessRuntime(unsafe=settings.unsafe)
    try:
        if await try_sandbox(runtime, show, begin) and not quick:
            await conforms(runtime, show, begin)
    finally:
        await runtime.close()


async def _examine_docker(settings: Settings, *, quick: bool, show: Show, begin: Begin) -> None:
    address = engine_address(os.environ, url=settings.docker_host)
    engine = DockerEngine(address, timeout_s=ENGINE_TIMEOUT_S)
    runtime = DockerRuntime(image=settings.image, address=address)
    try:
        begin("asking the engine")
        if not await _engine_is_fit(engine, show):
            return
        begin("looking at the image")
        if not await _image_is_there(engine, settings.image, show):
            return
        if await try_sandbox(runtime, show, begin) and not quick:
            await conforms(runtime, show, begin)
    finally:
        await runtime.close()
        await engine.close()


# --- this machine ------------------------------------------------------------------------------------


def _python() -> Finding:
    words = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= PYTHON_MIN:
        return Finding("Python", Outcome.OK, words)
    return Finding("Python", Outcome.FAILED, words, "Python 3.11 or later is needed.")


def _data_folder(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    words = f"{folder}, {free / 1e9:.0f} GB free"
    if free < DISK_MIN_BYTES:
        return Finding("data folder", Outcome.FAILED, words, "Free some disk space, or set WORKBENCH_DATA_DIR.")
    return Finding("data folder", Outcome.OK, words)


async def _engine_is_fit(engine: DockerEngine, show: Show) -> bool:
    try:
        info = await engine.call(lambda client: client.info(), what="describe itself")
    except WorkbenchError as error:
        fix = (
            error.suggested_fix
            or "See that docker_host (else DOCKER_HOST) names a Docker engine that this user may use."
        )
        show(Finding("engine", Outcome.FAILED, str(error), fix))
        return False
    findings = list(engine_findings(info))
    for finding in findings:
        show(finding)
    return not any(finding.outcome is Outcome.FAILED and finding.name == "engine" for finding in findings)


def _is_current(client: "docker.APIClient", image: str) -> bool:
    variant, base = as_built(client, image)
    return image_is_current(client, tag=image, variant=variant, base=base)


async def _image_is_there(engine: DockerEngine, image: str, show: Show) -> bool:
    build = "Build it: `workbench image build`."
    try:
        found = await engine.call(lambda client: client.inspect_image(image), what=f"find the image {image}")
        current = await engine.call(lambda client: _is_current(client, image), what="compare the image")
    except WorkbenchError as error:
        show(Finding("image", Outcome.FAILED, str(error), error.suggested_fix or build))
        return False
    words = f"{image}, {found['Size'] / 1e6:.0f} MB"
    if current:
        show(Finding("image", Outcome.OK, words))
    else:
        show(Finding("image", Outcome.KNOWN, f"{words}; not built from the files that are here now", build))
    return True
