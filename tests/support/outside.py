"""Everything that a controller can be set to call: stand-ins of the paid services, and MCP servers."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.support import api_host, composio_backend, model_server, search_servers
from tests.support.faulty_server import FaultyServer, closed_port, in_thread

TIME = (sys.executable, "-m", "mcp_server_time")


@dataclass
class Outside:
    """The stand-ins. `mcp`: further MCP servers by name, as the setting has them."""

    backend: composio_backend.ComposioBackend = field(default_factory=composio_backend.ComposioBackend)
    model: model_server.ModelServer = field(default_factory=model_server.ModelServer)
    exa: search_servers.ExaServer = field(default_factory=search_servers.ExaServer)
    searxng: search_servers.SearxngServer = field(default_factory=search_servers.SearxngServer)
    api: api_host.ApiHost = field(default_factory=api_host.ApiHost)
    mcp: Mapping[str, Any] = field(default_factory=dict)

    @property
    def servers(self) -> tuple[FaultyServer, ...]:
        """All stand-ins."""
        return self.backend, self.model, self.exa, self.searxng, self.api

    def settings(self) -> dict[str, str]:
        """Give the settings of a controller that calls all of them, and a toolkit `gone` that is never there."""
        hosts = {
            "desk": {"base_url": self.api.base_url, "credential": self.api.credential},
            "gone": {"base_url": f"http://127.0.0.1:{closed_port()}"},
        }
        return {
            "composio_api_key": self.backend.key,
            "composio_base_url": self.backend.url,
            "mcp_servers": json.dumps({"time": {"command": TIME}, **self.mcp}),
            "proxy_hosts": json.dumps(hosts),
            "model_base_url": self.model.base_url,
            "model_name": model_server.MODEL,
            "model_api_key": self.model.key or "",
            "exa_api_key": self.exa.key,
            "exa_base_url": self.exa.url,
            "searxng_url": self.searxng.url,
        }

    def recover(self) -> None:
        """Let all be well again."""
        for server in self.servers:
            server.always = None
            server.faults.clear()


@contextmanager
def serving(outside: Outside) -> Iterator[Outside]:
    """Serve all stand-ins while entered."""
    with ExitStack() as stack:
        for server in outside.servers:
            stack.enter_context(in_thread(server))
        yield outside


@contextmanager
def s3_server(bucket: str) -> Iterator[dict[str, str]]:
    """Serve an S3-compatible store with a bucket; the settings of a controller that puts its objects there."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "object_store": "s3",
        "s3_bucket": bucket,
        "s3_endpoint_url": f"http://{host}:{port}",
        "s3_region": "us-east-1",
        "s3_access_key_id": "an-access-key",
        "s3_secret_access_key": "a-secret-that-nobody-may-see",
    }
    try:
        boto3.client(
            "s3",
            endpoint_url=settings["s3_endpoint_url"],
            region_name=settings["s3_region"],
            aws_access_key_id=settings["s3_access_key_id"],
            aws_secret_access_key=settings["s3_secret_access_key"],
        ).create_bucket(Bucket=bucket)
        yield settings
    finally:
        server.stop()
