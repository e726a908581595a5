"""The composition root: everything is built here from the settings, started, and closed again."""

import contextlib
import gc
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from os import environ

import stamina
import structlog
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from sandbox import __version__
from sandbox.api.application import make_api
from sandbox.api.http_protocol import bounded_http
from sandbox.api.keys import KeyRing, make_key
from sandbox.api.once import Once
from sandbox.api.services import Services
from sandbox.config import OnShutdown, RuntimeName, Settings, check_exposure
from sandbox.errors import WorkbenchError
from sandbox.gateway.build import build_gateway
from sandbox.gateway.directory import Directory
from sandbox.gateway.gateway import Gateway
from sandbox.holding import held
from sandbox.kept import load_or_make
from sandbox.logs import configure_logging
from sandbox.metrics import Metrics
from sandbox.outside import Outside, make_outside
from sandbox.pipe.traffic import Traffic
from sandbox.runtimes.base import Runtime
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import engine_address
from sandbox.runtimes.docker_engine import OnCall
from sandbox.runtimes.process import ProcessRuntime
from sandbox.serving import Server, listen
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reaper import IdleRules
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from sandbox.tools.base import OnStage, TimeLimits
from sandbox.tools.create_plan import CreatePlanTool
from sandbox.tools.get_schemas import GetSchemasTool
from sandbox.tools.manage_connections import ManageConnectionsTool
from sandbox.tools.multi_execute import MultiExecuteTool
from sandbox.tools.offload import Offload
from sandbox.tools.proxy_execute import ProxyTool
from sandbox.tools.registry import Toolbox, make_toolbox
from sandbox.tools.responses import Responses
from sandbox.tools.run_one import OneTool
from sandbox.tools.search_tools import SearchTool
from sandbox.tools.wait_for_connections import WaitForConnectionsTool
from sandbox.upstreams.build import close_upstreams, start_upstreams

log = structlog.get_logger(__name__)

Say = Callable[[str], None]

_KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that it is they who close them and never in the middle."""

_DAY_S = 86_400.0

_GATEWAY_CLOSE_S = 5.0

_LAST_ANSWERS_S = 3
"""After the grace of a shutdown: for requests to be answered that hear only then that they wait in vain."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """All parts of one controller. `made_key`: the API key, when it was made at this start."""

    settings: Settings
    runtime: Runtime
    store: SqlStore
    manager: SessionManager
    toolbox: Toolbox
    outside: Outside
    gateway: Gateway
    metrics: Metrics
    keys: KeyRing
    made_key: SecretStr | None
    directory: Directory
    responses: Responses
    start_failures: list[WorkbenchError] = field(default_factory=list)


def build(settings: Settings) -> Workbench:
    """Build all parts; nothing runs yet. `create_app` or `manager.start_up` starts them.

    Raises:
        ConfigurationError: settings contradict each other, or `data_dir` cannot be used.
    """
    check_exposure(settings)
    keys, made_key = _keys(settings)
    metrics = Metrics()
    traffic = Traffic()
    runtime = make_runtime(settings, on_call=metrics.engine_call, traffic=traffic)
    store = SqlStore(_database_url(settings))
    outside = make_outside(settings)

    def newest(session: Session) -> Session:
        return manager.configs.newest(session)  # made below: the two need each other

    gateway = build_gateway(settings, outside.upstreams, store, metrics, newest=newest)
    manager = SessionManager(
        runtime,
        store,
        installation=installation_of(settings),
        limits=_limits(settings),
        observer=metrics,
        helpers=gateway,
    )
    # Its default hooks log upstreams' words and count in a registry that nobody reads.
    stamina.instrumentation.set_on_retry_hooks(())
    _watch(metrics, manager, gateway, traffic)
    responses = Responses(Offload(manager), offload_chars=settings.offload_chars)
    directory = Directory(outside.upstreams.tools, settings.proxy_hosts, gateway.policies)
    toolbox = _toolbox(settings, manager, gateway, directory, responses, on_stage=metrics.stage)
    return Workbench(
        settings,
        runtime,
        store,
        manager,
        toolbox,
        outside,
        gateway,
        metrics,
        keys,
        made_key,
        directory=directory,
        responses=responses,
    )


def create_app(workbench: Workbench, *, started: Callable[[], None] | None = None) -> FastAPI:
    """Make the ASGI application; its lifespan starts the manager, calls `started`, and closes all at the end."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await workbench.manager.start_up()
        except WorkbenchError as error:
            workbench.start_failures.append(error)
            raise
        try:
            await start_upstreams(workbench.outside.upstreams)
            workbench.gateway.start()
            if started is not None:
                started()
            yield
        finally:
            workbench.manager.stop_taking()
            # While the store is still open, for the last rows of the audit.
            await workbench.gateway.aclose(_GATEWAY_CLOSE_S)
            await workbench.manager.aclose()
            await close_upstreams(workbench.outside.upstreams)

    services = Services(
        manager=workbench.manager,
        audit=workbench.gateway.audit,
        objects=workbench.outside.upstreams.objects,
        links=workbench.outside.links,
        toolbox=workbench.toolbox,
        keys=workbench.keys,
        metrics=workbench.metrics,
        checks={"engine": workbench.runtime.check, "store": workbench.store.check},
        max_body_bytes=workbench.settings.max_body_bytes,
        max_upload_bytes=workbench.settings.max_upload_bytes,
        request_timeout_s=workbench.settings.request_timeout_s,
        directory=workbench.directory,
        one_tool=OneTool(workbench.gateway, workbench.responses),
        gateway=workbench.gateway,
        connect=workbench.outside.upstreams.connect,
        once=Once(),
        public_url=workbench.settings.url if workbench.settings.public_url else None,
        link_s=workbench.settings.object_link_s,
    )
    return make_api(services, lifespan)


def serve(settings: Settings, say: Say | None = None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. `say` is told what a person wants to know; default: standard output.

    Raises:
        ConfigurationError: the settings cannot be used, the address is taken, or another controller uses `data_dir`.
        StoreUnavailable: the database does not answer.
    """
    configure_logging(settings.log_level, settings.log_format)
    workbench = build(settings)
    listener = listen(settings)
    url = settings.model_copy(update={"port": listener.getsockname()[1]}).url
    workbench.outside.address.url = url
    app = create_app(workbench, started=lambda: _started(workbench, url, say or _say))
    server = Server(
        uvicorn.Config(
            app,
            http=bounded_http(settings.request_timeout_s),
            loop="auto",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.shutdown_grace_s + _LAST_ANSWERS_S,
        ),
        workbench.manager,
    )
    with listener, held(settings.data_dir), contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if workbench.start_failures:
        raise workbench.start_failures[0]


def make_runtime(settings: Settings, *, on_call: OnCall | None = None, traffic: Traffic | None = None) -> Runtime:
    """Make the driver that the settings name.

    Raises:
        ConfigurationError: the engine's address cannot be used, or `unsafe` is missing.
    """
    if settings.runtime is RuntimeName.PROCESS:
        return ProcessRuntime(unsafe=settings.unsafe, on_log=_log_agent)
    address = engine_address(environ, url=settings.docker_host)
    return DockerRuntime(
        image=settings.image,
        address=address,
        on_log=_log_agent,
        on_call=on_call,
        traffic=traffic,
        timeout_s=settings.engine_timeout_s,
    )


def _limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        pool_size=settings.pool_size,
        pool_sizes=settings.pool_sizes,
        pool_max_age_s=settings.pool_max_age_s,
        pool_check_s=settings.pool_check_s,
        max_sandboxes=settings.max_sandboxes,
        max_memory_bytes=settings.max_memory_bytes,
        starts_at_once=settings.starts_at_once,
        admission_queue=settings.admission_queue,
        admission_wait_s=settings.admission_wait_s,
        boot_deadline_s=settings.boot_timeout_s,
        shutdown_grace_s=float(settings.shutdown_grace_s),
        keep_sandboxes=settings.on_shutdown is OnShutdown.KEEP and settings.runtime is not RuntimeName.PROCESS,
        call_deadline_s=settings.engine_timeout_s,
        silence_s=settings.agent_silence_s,
        probe_s=settings.agent_silence_s,
        results_age_s=settings.results_days * _DAY_S,
        idle=_idle_rules(settings),
        idle_of=_idle_rules_by_owner(settings),
    )


def _watch(metrics: Metrics, manager: SessionManager, gateway: Gateway, traffic: Traffic) -> None:
    """Have what counts itself looked up when metrics are read."""
    metrics.watch_by("sandboxes", "Sandboxes of sessions by state.", "state", lambda: manager.states)
    admission = manager.supply.admission
    metrics.watch("admission_waiting", "Requests that wait for room for a sandbox.", lambda: admission.waiting)
    metrics.watch("admission_starting", "Sandboxes that start now, the pool's too.", lambda: admission.starting)
    metrics.watch_count("admission_refused", "Requests refused for want of room.", lambda: admission.refused)
    metrics.watch("executions_running", "Executions that have not ended.", lambda: manager.running)
    metrics.watch("results_waiting", "Executions that ended and are not stored yet.", lambda: manager.results_waiting)
    metrics.watch("helper_calls_running", "Helper calls that run.", lambda: gateway.turns.running)
    metrics.watch("helper_calls_waiting", "Helper calls that wait for their turn.", lambda: gateway.turns.waiting)
    metrics.watch("audit_waiting", "Rows of the audit that are not stored yet.", lambda: gateway.audit.waiting)
    metrics.watch_count("audit_dropped", "Rows of the audit that were lost.", lambda: gateway.audit.dropped)
    metrics.watch_count("pipe_received_bytes", "Bytes from agents (docker runtime).", lambda: traffic.received)
    metrics.watch_count("pipe_sent_bytes", "Bytes to agents (docker runtime).", lambda: traffic.sent)


def _toolbox(
    settings: Settings,
    manager: SessionManager,
    gateway: Gateway,
    directory: Directory,
    responses: Responses,
    *,
    on_stage: OnStage,
) -> Toolbox:
    return make_toolbox(
        manager,
        workbench=TimeLimits(
            settings.workbench_timeout_default_s, settings.workbench_timeout_max_s, settings.queue_timeout_s
        ),
        bash=TimeLimits(settings.bash_timeout_default_s, settings.bash_timeout_max_s),
        strict_schema=settings.strict_schema,
        on_stage=on_stage,
        others=[
            MultiExecuteTool(manager, gateway, responses, at_once=settings.multi_execute_at_once),
            ProxyTool(manager, gateway),
            SearchTool(manager, directory, gateway),
            GetSchemasTool(manager, directory),
            ManageConnectionsTool(manager, directory, gateway),
            WaitForConnectionsTool(manager, directory, gateway),
            CreatePlanTool(manager, directory, gateway),
        ],
    )


def _idle_rules(settings: Settings) -> IdleRules:
    return IdleRules(
        pause_after_s=settings.pause_after_s,
        stop_after_s=settings.stop_after_s,
        remove_after_s=settings.remove_after_s,
        background_jobs_keep_awake=settings.background_jobs_keep_awake,
        make_room_after_s=settings.make_room_after_s,
    )


def _idle_rules_by_owner(settings: Settings) -> dict[str, IdleRules]:
    common = _idle_rules(settings)
    return {
        owner: replace(common, **overrides.model_dump(exclude_none=True))
        for owner, overrides in settings.key_overrides.items()
    }


def installation_of(settings: Settings) -> str:
    """Give the name by which this installation knows its sandboxes, made at the first start."""
    if settings.installation is not None:
        return settings.installation
    return load_or_make(settings.data_dir / "installation", lambda: f"wb-{secrets.token_hex(6)}")[0]


def _keys(settings: Settings) -> tuple[KeyRing, SecretStr | None]:
    if settings.api_keys:
        return KeyRing(settings.api_keys), None
    text, made = load_or_make(settings.key_path, make_key)
    key = SecretStr(text)
    return KeyRing([key]), key if made else None


def _database_url(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{(settings.data_dir / 'workbench.db').absolute()}"


def _started(workbench: Workbench, url: str, say: Say) -> None:
    # What is there now stays. To look through all of it again takes each full collection a tenth of a second.
    gc.collect()
    gc.freeze()
    _announce(workbench, url, say)


def _announce(workbench: Workbench, url: str, say: Say) -> None:
    settings = workbench.settings
    say(f"Workbench {__version__} listens on {url} (documentation: {url}/docs)")
    if workbench.made_key is not None:
        say(f"API key, made now: {workbench.made_key.get_secret_value()}")
        say(f"It is kept in {settings.key_path} and not shown again.")
    elif settings.api_keys:
        say(f"API keys: {len(settings.api_keys)} configured")
    else:
        say(f"API key: in {settings.key_path}")
    if settings.runtime is RuntimeName.PROCESS:
        say("WARNING: runtime process. NOTHING IS ISOLATED: all code runs as your user on this machine.")
    else:
        say(f"Runtime: {settings.runtime.value}, image {settings.image}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _log_agent(sandbox_id: str, line: str) -> None:
    """Agents' own log lines may hold what code printed past its streams: kept out of the log above debug."""
    log.debug("agent", sandbox=sandbox_id, line=line)
