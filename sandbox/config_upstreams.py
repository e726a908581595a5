"""Settings of what is outside: tool backends, models, search, object stores, and the bounds of helper calls."""

import re
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from sandbox.limits import MIB

_TOOLKIT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("has to be a URL that begins with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password; use the setting for the credential")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]


class McpServer(BaseModel):
    """One MCP server: a command that speaks over its standard streams, or the URL of a Streamable HTTP endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = Field((), description="Program and arguments; it runs as the controller's user.")
    env: dict[str, SecretStr] = Field(default_factory=dict, description="Variables for the program.")
    url: HttpUrl | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Headers of each request to `url`.")
    timeout_s: float = Field(60, gt=0)

    @model_validator(mode="after")
    def _one_of_both(self) -> "McpServer":
        if bool(self.command) == (self.url is not None):
            raise ValueError("needs either `command` or `url`")
        if self.env and self.url is not None:
            raise ValueError("`env` is for `command`; use `headers` with `url`")
        if self.headers and self.command:
            raise ValueError("`headers` are for `url`; use `env` with `command`")
        return self


class ProxyHost(BaseModel):
    """One API that `proxy_execute` may reach as a toolkit. `header`: name of the credential's header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: HttpUrl
    header: str = "Authorization"
    credential: SecretStr | None = Field(None, description="Value of that header, such as `Bearer ...`.")
    timeout_s: float = Field(60, gt=0)


class ObjectStoreName(StrEnum):
    """Where uploaded files go."""

    LOCAL = "local"
    S3 = "s3"
    NONE = "none"


class UpstreamSettings(BaseModel):
    """The part of `Settings` that names what is outside."""

    composio_api_key: SecretStr | None = Field(
        None, description="API key of a Composio-compatible tool backend; none: that backend is not used."
    )
    composio_base_url: HttpUrl = Field(
        "https://backend.composio.dev", description="Base URL of the Composio-compatible tool backend."
    )
    composio_timeout_s: float = Field(120, gt=0, description="Seconds that one call to that backend may take.")
    mcp_servers: dict[str, McpServer] = Field(
        default_factory=dict,
        description=(
            "MCP servers by toolkit name: TOML tables `[mcp_servers.time]` with `command` (and `env`) or `url` (and "
            "`headers`), JSON in the environment."
        ),
        json_schema_extra={"shown": "none"},
    )
    proxy_hosts: dict[str, ProxyHost] = Field(
        default_factory=dict,
        description=(
            "APIs that `proxy_execute` reaches, by toolkit name: TOML tables `[proxy_hosts.github]` with `base_url`, "
            "`credential`, `header`; JSON in the environment."
        ),
        json_schema_extra={"shown": "none"},
    )
    model_base_url: HttpUrl | None = Field(
        None, description="Base URL of an OpenAI-compatible endpoint for `invoke_llm`, such as `https://host/v1`."
    )
    model_api_key: SecretStr | None = Field(None, description="API key of that endpoint.")
    model_name: str | None = Field(None, description="Model that `invoke_llm` asks.")
    model_temperature: float | None = Field(None, ge=0, le=2, description="Temperature; none: the endpoint's default.")
    model_max_output_tokens: int | None = Field(
        None, ge=1, description="Most tokens of an answer; none: the endpoint's default."
    )
    model_timeout_s: float = Field(300, gt=0, description="Seconds that one answer of the model may take.")
    exa_api_key: SecretStr | None = Field(None, description="API key of Exa, for `web_search`.")
    exa_base_url: HttpUrl = Field("https://api.exa.ai", description="Base URL of Exa.")
    searxng_url: HttpUrl | None = Field(None, description="URL of a SearXNG instance, for `web_search` without Exa.")
    search_timeout_s: float = Field(60, gt=0, description="Seconds that one search may take.")
    object_store: ObjectStoreName = Field(
        ObjectStoreName.LOCAL,
        description="Where `upload_local_file` puts files: `local` (folder `objects` in `data_dir`), `s3` or `none`.",
    )
    object_link_s: int = Field(3600, ge=1, le=604_800, description="Seconds for which a link to an object works.")
    object_keep_s: int = Field(86_400, ge=60, description="Seconds after which the local object store removes a file.")
    object_store_max_bytes: int = Field(
        10 * 1024 * MIB, ge=MIB, description="Bytes that the local object store may hold."
    )
    s3_bucket: str | None = Field(None, description="Bucket for `object_store` `s3`.")
    s3_prefix: str = Field("workbench/", description="Prefix of all keys in that bucket.")
    s3_endpoint_url: HttpUrl | None = Field(None, description="Endpoint of an S3-compatible service; none: AWS.")
    s3_region: str | None = Field(None, description="Region of the bucket.")
    s3_access_key_id: SecretStr | None = Field(None, description="Access key; none: as the AWS SDK finds credentials.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret of that access key.")
    helper_timeout_s: float = Field(
        120, gt=0, description="Seconds that a helper call may take when nothing says less."
    )
    helper_calls_at_once: int = Field(64, ge=1, description="Helper calls that run at the same time, of all sessions.")
    helper_calls_at_once_per_session: int = Field(32, ge=1, description="The same for one session.")
    helper_queue: int = Field(4096, ge=0, description="Helper calls that may wait for their turn.")
    helper_retries: int = Field(
        3, ge=0, le=10, description="Times that a call is sent again after a 429 or a connection that failed."
    )
    calls_per_session: int = Field(200_000, ge=0, description="Helper calls of one session in 24 hours.")
    calls_per_key: int = Field(2_000_000, ge=0, description="Helper calls of all sessions of one API key in 24 hours.")
    model_chars_per_session: int = Field(
        20_000_000, ge=0, description="Characters, question and answer, of `invoke_llm` in 24 hours, per session."
    )
    model_chars_per_key: int = Field(200_000_000, ge=0, description="The same per API key.")
    upload_bytes_per_session: int = Field(
        10 * 1024 * MIB, ge=0, description="Bytes that `upload_local_file` takes in 24 hours, per session."
    )
    upload_bytes_per_key: int = Field(100 * 1024 * MIB, ge=0, description="The same per API key.")
    audit_arguments: bool = Field(
        False, description="Keep arguments of helper calls in the audit (they may be private)."
    )
    audit_days: float = Field(30, gt=0, description="Days for which the audit of helper calls is kept.")
    tool_answer_max_bytes: int = Field(512 * MIB, ge=MIB, description="Largest answer of a tool that is accepted.")
    tool_answers_max_bytes: int = Field(
        2048 * MIB,
        ge=MIB,
        description="Memory that all answers of tools under way take together; over it one waits, then is refused.",
    )
    multi_execute_at_once: int = Field(
        20, ge=1, le=50, description="Tools of one COMPOSIO_MULTI_EXECUTE_TOOL that run at the same time."
    )
    offload_chars: int = Field(
        20_000, ge=1, description="Characters above which a tool response goes to a file, when a session names none."
    )

    @field_validator("mcp_servers", "proxy_hosts")
    @classmethod
    def _names_are_toolkits(cls, named: dict[str, object]) -> dict[str, object]:
        for name in named:
            if _TOOLKIT.fullmatch(name) is None:
                raise ValueError(f"{name!r} is no toolkit name: lower-case letters, digits, - and _ only")
            if name == "composio" or name.startswith("composio_"):
                raise ValueError(f"{name!r} is the name of the meta tools")
        return named

    @model_validator(mode="after")
    def _belong_together(self) -> "UpstreamSettings":
        if self.object_store is ObjectStoreName.S3 and self.s3_bucket is None:
            raise ValueError("object_store is s3, and s3_bucket is not set")
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError("s3_access_key_id and s3_secret_access_key belong together")
        if self.model_base_url is not None and self.model_name is None:
            raise ValueError("model_base_url is set, and model_name is not")
        return self
