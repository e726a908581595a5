"""One module a helper. `make_methods` is the registry: a new helper is one class and one line here."""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.config_upstreams import UpstreamSettings
from sandbox.gateway.methods.base import Method
from sandbox.gateway.methods.model import InvokeModel
from sandbox.gateway.methods.proxy import ProxyExecute
from sandbox.gateway.methods.search import WebSearch
from sandbox.gateway.methods.tool import RunTool
from sandbox.gateway.methods.upload import GetMountFileKey, GetMountFileUrl, UploadLocalFile
from sandbox.upstreams.base import Upstreams

__all__ = ["Method", "ProxyExecute", "RunTool", "make_methods"]


def make_methods(
    upstreams: Upstreams, settings: UpstreamSettings, redact: Callable[[str], str]
) -> Mapping[str, Method[Any, Any]]:
    """Make all helpers over what is configured, by name. One that misses its upstream says so when it is called."""
    methods: tuple[Method[Any, Any], ...] = (
        RunTool(upstreams.tools, redact),
        InvokeModel(upstreams.model, settings.model_name or "", settings.model_timeout_s),
        WebSearch(upstreams.search),
        ProxyExecute(upstreams.proxies),
        UploadLocalFile(upstreams.objects),
        GetMountFileUrl(upstreams.objects),
        GetMountFileKey(upstreams.objects),
    )
    return {method.name: method for method in methods}
