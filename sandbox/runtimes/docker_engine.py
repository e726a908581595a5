"""Blocking calls to the engine: one bounded thread limiter, a deadline for each, foreign errors mapped once."""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Final, TypeVar

import docker
import docker.errors
import docker.tls
import requests

from sandbox.errors import EngineUnavailable, ImageMissing, RuntimeFault, SandboxGone
from sandbox.runtimes.docker_address import EngineAddress, TcpAddress, UnixAddress

T = TypeVar("T")

OnCall = Callable[[str, str, float], None]
"""Called with each call's operation (the first word of its `what`), its outcome (ok, cancelled or the error's slug)
and its seconds."""

THREADS: Final = 8
"""Calls to the engine at one time: enough to fill a pool, too few to stampede it."""

_OLDEST_API: Final = "1.24"
"""Only for the question which version it speaks, whose address has no version in it."""

_TOLD_MAX: Final = 400
"""Characters of an engine's own words that an error quotes."""

_START_ENGINE: Final = (
    "start it (Linux: `systemctl start docker` or `service docker start`; desktops: start Docker Desktop), "
    "or set DOCKER_HOST to where it is"
)
_BUILD_IMAGE: Final = "build it with `workbench image build`"
_FREE_DISK: Final = "free disk space on the engine's machine; `docker system df` shows what takes it"
_JOIN_GROUP: Final = "add the user to the group (`sudo usermod -aG docker $USER`, then log in again)"


class DockerEngine:
    """The low-level client of docker-py behind a deadline. The client is made at first use, in a thread."""

    def __init__(self, address: EngineAddress, *, timeout_s: float, on_call: OnCall | None = None) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._on_call = on_call
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._connecting = threading.Lock()
        self._client: docker.APIClient | None = None
        self._api_version = ""

    async def call(self, ask: Callable[[docker.APIClient], T], *, what: str) -> T:
        """Run `ask` with the client in a thread. `what` names it in errors, as in `start sandbox ab12`.

        Raises:
            EngineUnavailable: it cannot be reached, refused the connection or was silent past the deadline.
            ImageMissing: it has no such image.
            SandboxGone: it has no such container.
            RuntimeFault: it refused; the message has its words.
        """
        began, outcome = monotonic(), "cancelled"
        try:
            result = await self._in_thread(ask, what)
            outcome = "ok"
        except RuntimeFault as error:
            outcome = error.slug
            raise
        finally:
            if self._on_call is not None:
                self._on_call(what.split(maxsplit=1)[0], outcome, monotonic() - began)
        return result

    async def api_version(self) -> str:
        """Give the version of the Engine API that client and engine agreed on."""
        if not self._api_version:
            self._api_version = str(await self.call(lambda client: client.api_version, what="answer"))
        return self._api_version

    async def close(self) -> None:
        """Let go of connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def _in_thread(self, ask: Callable[[docker.APIClient], T], what: str) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._blocking, ask, what)
        try:
            # The thread ends by the client's own timeout; a second more lets that say what happened.
            async with asyncio.timeout(self.timeout_s + 1):
                return await running
        except TimeoutError as error:
            raise self._silent(what) from error

    def _blocking(self, ask: Callable[[docker.APIClient], T], what: str) -> T:
        try:
            return ask(self._connected())
        except docker.errors.APIError as error:
            raise _refused(error, what) from error
        except requests.Timeout as error:
            raise self._silent(what) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise self._unreachable(error) from error

    def _connected(self) -> docker.APIClient:
        with self._connecting:
            if self._client is None:
                self._client = make_client(self.address, timeout_s=self.timeout_s)
            return self._client

    def _silent(self, what: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"the Docker engine did not {what} within {self.timeout_s:g} s",
            inside=f"({self.address})",
            suggested_fix="look at its log and at the load and free disk space of its machine",
        )

    def _unreachable(self, error: Exception) -> EngineUnavailable:
        if "Permission denied" in str(error):
            return EngineUnavailable(
                "the controller may not use the Docker engine", inside=f"at {self.address}", suggested_fix=_JOIN_GROUP
            )
        return EngineUnavailable(
            "no Docker engine answers",
            inside=f"at {self.address}: {_root_cause(error)}",
            suggested_fix=_START_ENGINE,
        )


def make_client(address: EngineAddress, *, timeout_s: float) -> docker.APIClient:
    """Connect docker-py's low-level client and agree on a version of the API. Blocks.

    `timeout_s` is for each wait on the socket.

    Raises:
        docker.errors.DockerException, requests.RequestException, OSError: no engine answers.
    """
    # Asked by a client of its own: one that fails inside its constructor could not be closed.
    with _client(address, version=_OLDEST_API, timeout_s=timeout_s) as asking:
        version = str(asking.version(api_version=False)["ApiVersion"])
    return _client(address, version=version, timeout_s=timeout_s)


def _client(address: EngineAddress, *, version: str, timeout_s: float) -> docker.APIClient:
    if isinstance(address, UnixAddress):
        # docker-py forgets to close a unix socket that cannot be connected; so look first.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(address.path)
    client = docker.APIClient(
        base_url=address.url, version=version, timeout=timeout_s, tls=_tls(address), max_pool_size=THREADS
    )
    # Otherwise REQUESTS_CA_BUNDLE would replace the engine's own authority, and HTTP_PROXY would be in the way.
    client.trust_env = False
    return client


def _refused(error: docker.errors.APIError, what: str) -> RuntimeFault:
    # What is no engine answers with pages of its own: one line of them says enough.
    told = " ".join(str(error.explanation or error).split())
    words = f"the Docker engine did not {what}: {told[:_TOLD_MAX]}"
    if isinstance(error, docker.errors.ImageNotFound):
        return ImageMissing(words, suggested_fix=_BUILD_IMAGE)
    if isinstance(error, docker.errors.NotFound):
        return SandboxGone(words)
    return RuntimeFault(words, suggested_fix=_FREE_DISK if "no space left" in words.lower() else None)


def _root_cause(error: BaseException) -> str:
    """The operating system's own words, which docker-py and urllib3 wrap four deep."""
    deepest: BaseException = error
    while (cause := deepest.__cause__ or deepest.__context__) is not None:
        deepest = cause
    return str(deepest) or type(deepest).__name__


def _tls(address: EngineAddress) -> docker.tls.TLSConfig | bool:
    if not isinstance(address, TcpAddress) or address.tls is None:
        return False
    files = address.tls
    return docker.tls.TLSConfig(
        client_cert=(str(files.cert), str(files.key)), ca_cert=str(files.ca), verify=files.verify
    )
