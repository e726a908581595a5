"""Settings: typed, from the environment (`WORKBENCH_*`) or a TOML file. Nothing is read at import.

Order of precedence: what the caller passes, the environment, the file, the default. The file is the one that
`WORKBENCH_CONFIG` names, else `workbench.toml` in the current folder when there is one.
"""

import ipaddress
import os
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from sandbox import __version__
from sandbox.config_upstreams import HttpUrl, UpstreamSettings
from sandbox.config_words import explained, nearest, unread
from sandbox.errors import ConfigurationError
from sandbox.limits import (
    BASH_TIMEOUT_DEFAULT_S,
    BASH_TIMEOUT_MAX_S,
    CALL_SLACK_S,
    MIB,
    READY_TIMEOUT_S,
    WORKBENCH_TIMEOUT_DEFAULT_S,
    WORKBENCH_TIMEOUT_MAX_S,
)

ENV_PREFIX: Final = "WORKBENCH_"
CONFIG_VARIABLE: Final = "WORKBENCH_CONFIG"
OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, f"{ENV_PREFIX}API_KEY", f"{ENV_PREFIX}URL"})
"""They are no settings of the controller: where its file is, and what the command line needs to reach it."""

CONFIG_FILE: Final = "workbench.toml"


class OnShutdown(StrEnum):
    """What becomes of sessions' sandboxes when the controller stops."""

    KEEP = "keep"
    REMOVE = "remove"


class RuntimeName(StrEnum):
    """Which driver makes sandboxes."""

    DOCKER = "docker"
    PROCESS = "process"


def _default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share"
    return base / "workbench"


def _shown(text: str) -> dict[str, Any]:
    """How a computed default is written in the documentation."""
    return {"shown": text}


class IdleOverrides(BaseModel):
    """What holds for the sandboxes of one API key instead of the settings of the same name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pause_after_s: float | None = Field(None, ge=0)
    stop_after_s: float | None = Field(None, ge=0)
    remove_after_s: float | None = Field(None, ge=0)
    background_jobs_keep_awake: bool | None = None
    make_room_after_s: float | None = Field(None, ge=0)


class Settings(UpstreamSettings, BaseSettings):
    """Every setting of the controller. Frozen: what was read at start holds until the end."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, allow_inf_nan=False
    )

    host: str = Field("127.0.0.1", description="Address to listen on. Not loopback only with `api_keys` set.")
    port: int = Field(8380, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    public_url: HttpUrl | None = Field(
        None, description="URL under which clients reach the server, when that is not `http://host:port`."
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="API keys, separated by commas in the environment. None: one is made and kept in `data_dir`.",
    )
    data_dir: Path = Field(
        default_factory=_default_data_dir,
        description="Folder of the key file and of the SQLite database.",
        json_schema_extra=_shown("`$XDG_DATA_HOME/workbench`"),
    )
    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the database (`sqlite+aiosqlite://` or `postgresql+asyncpg://`).",
        json_schema_extra=_shown("SQLite in `data_dir`"),
    )
    runtime: RuntimeName = Field(
        RuntimeName.DOCKER, description="What makes sandboxes: `docker`, or `process` (development only)."
    )
    unsafe: bool = Field(
        False, description="Allow the `process` runtime, which isolates nothing: code runs as this user."
    )
    image: str = Field(
        f"workbench-sandbox:{__version__}",
        description="Image of the sandboxes.",
        json_schema_extra=_shown("`workbench-sandbox:<version>`"),
    )
    docker_host: str | None = Field(
        None,
        description="URL of the Docker engine.",
        json_schema_extra=_shown("`DOCKER_HOST`, else the local engine"),
    )
    installation: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Name by which this installation knows its sandboxes on a shared engine.",
        json_schema_extra=_shown("made once, kept in `data_dir`"),
    )
    pool_size: int = Field(2, ge=0, le=100, description="Sandboxes kept booted, with a warm kernel, for new sessions.")
    pool_sizes: dict[str, Annotated[int, Field(ge=0, le=100)]] = Field(
        default_factory=dict,
        description="The same for `medium`, `large` and `xlarge`: a TOML table, JSON in the environment.",
        json_schema_extra=_shown("none"),
    )
    pool_max_age_s: float = Field(3600, gt=0, description="Seconds after which an unused one of these is replaced.")
    pool_check_s: float = Field(60, gt=0, description="Seconds between looks at whether they are well.")
    max_sandboxes: int = Field(
        64,
        ge=1,
        description=(
            "Sandboxes that there may be at once, paused and unused ones among them. Stopped ones do not count, and "
            "may have to wait for room when they are woken."
        ),
    )
    max_memory_bytes: int | None = Field(
        None,
        ge=1,
        description="Bytes that the memory limits of all of these may add up to.",
        json_schema_extra=_shown("80 % of the memory of the engine's machine"),
    )
    starts_at_once: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2),
        ge=1,
        description="Sandboxes that may start at the same time.",
        json_schema_extra=_shown("processors, at least 2"),
    )
    admission_queue: int = Field(
        64, ge=0, description="Requests that may wait for a new sandbox; others are refused with 503."
    )
    admission_wait_s: float = Field(30, gt=0, description="Seconds that each of them waits before it is refused.")
    boot_timeout_s: float = Field(
        READY_TIMEOUT_S, gt=0, description="Seconds that a sandbox may take until its kernel is ready."
    )
    engine_timeout_s: float = Field(
        30, gt=0, description="Seconds that one call to the engine may take, and that a cut pipe is tried again."
    )
    agent_silence_s: float = Field(
        CALL_SLACK_S, gt=0, description="Seconds of silence, past its own deadline, until an agent is taken for dead."
    )
    pause_after_s: float = Field(
        60, ge=0, description="Idle seconds after which a sandbox is frozen: no processor time, nothing lost; 0: never."
    )
    stop_after_s: float = Field(
        1800, ge=0, description="Idle seconds after which a sandbox is stopped: files kept, variables lost; 0: never."
    )
    remove_after_s: float = Field(
        86_400, ge=0, description="Idle seconds after which a sandbox is removed with its files; 0: never."
    )
    background_jobs_keep_awake: bool = Field(
        True, description="Whether a sandbox in which background jobs of bash run counts as used."
    )
    make_room_after_s: float = Field(
        60,
        ge=0,
        description=(
            "Idle seconds after which a sandbox may be stopped early, as after `stop_after_s`, when a request finds no "
            "room: the longest idle one of the key that has most; 0: never. With `stop_after_s` 0 none is."
        ),
    )
    key_overrides: dict[str, IdleOverrides] = Field(
        default_factory=dict,
        description=(
            "Other values of the five settings above, by owner id (`workbench doctor` shows those of the configured "
            "keys): a TOML table `[key_overrides.own_...]`, JSON in the environment."
        ),
        json_schema_extra=_shown("none"),
    )
    queue_timeout_s: float = Field(
        900,
        gt=0,
        description="Seconds that Python code may wait for earlier code of its session, and for a kernel, together.",
    )
    workbench_timeout_default_s: float = Field(
        WORKBENCH_TIMEOUT_DEFAULT_S, ge=1, description="Time limit of Python code when a request names none."
    )
    workbench_timeout_max_s: float = Field(
        WORKBENCH_TIMEOUT_MAX_S, ge=1, description="Highest time limit that a request for Python may name."
    )
    bash_timeout_default_s: float = Field(
        BASH_TIMEOUT_DEFAULT_S, ge=1, description="Time limit of a bash command when a request names none."
    )
    bash_timeout_max_s: float = Field(
        BASH_TIMEOUT_MAX_S, ge=1, description="Highest time limit that a request for bash may name."
    )
    results_days: float = Field(
        1,
        ge=0,
        le=3650,
        description=(
            "Days for which results of ended executions, their output with them, are kept in the database; 0: they are "
            "in memory only, and lost with the controller."
        ),
    )
    max_body_bytes: int = Field(32 * MIB, ge=1024, description="Largest request body that is accepted.")
    max_upload_bytes: int = Field(10_240 * MIB, ge=1024, description="The same for files that are uploaded by `PUT`.")
    request_timeout_s: float = Field(
        60, gt=0, description="Seconds in which the head of a request, and then its body, have to come."
    )
    strict_schema: bool = Field(
        False, description="Leave `exit_code`, `artifacts` and `execution` out of answers' `data`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["console", "json"] = Field("console", description="Form of log lines on standard error.")
    shutdown_grace_s: int = Field(
        10, ge=0, description="Seconds that open requests may take to end when the server stops."
    )

    on_shutdown: OnShutdown = Field(
        OnShutdown.KEEP,
        description=(
            "What becomes of sessions' sandboxes when the server stops: `keep` leaves them, and what runs in them, to "
            "the next start; `remove` interrupts and removes all. The `process` runtime always removes."
        ),
    )

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_keys")
    @classmethod
    def _keys_are_long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < 8 for key in keys):
            raise ValueError("an API key has to have at least 8 characters")
        return keys

    @field_validator("pool_sizes")
    @classmethod
    def _pool_sizes_are_others(cls, sizes: dict[str, int]) -> dict[str, int]:
        others = {"medium", "large", "xlarge"}
        if unknown := sorted(sizes.keys() - others):
            raise ValueError(f"no such size: {', '.join(unknown)}; there are {', '.join(sorted(others))}")
        return sizes

    @model_validator(mode="after")
    def _defaults_are_under_their_ceilings(self) -> "Settings":
        for tool in ("workbench", "bash"):
            default, highest = (getattr(self, f"{tool}_timeout_{end}_s") for end in ("default", "max"))
            if default > highest:
                raise ValueError(f"{tool}_timeout_default_s ({default:g}) is over {tool}_timeout_max_s ({highest:g})")
        return self

    @property
    def key_path(self) -> Path:
        """File of the key that was made because none was configured."""
        return self.data_dir / "api_key"

    @property
    def loopback(self) -> bool:
        """Whether `host` can be reached from this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Base URL for clients, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Caller, environment, TOML file: no dotenv files, no secrets folder."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=_config_file())


def _config_file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        path = Path(named)
        if not path.is_file():
            raise ConfigurationError(
                f"{CONFIG_VARIABLE} names {named}, which is not a file", suggested_fix="Correct the path or unset it."
            )
        return path
    path = Path(CONFIG_FILE)
    return path if path.is_file() else None


def load_settings(**overrides: Any) -> Settings:
    """Read all settings; `overrides` win over environment and file, those that are None are left out.

    Raises:
        ConfigurationError: names every setting that is unknown, malformed or contradicts another.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(
            f"Invalid settings: {explained(error, Settings.model_fields)}", suggested_fix=_where()
        ) from None
    except SettingsError as error:
        raise ConfigurationError(f"Invalid settings: {unread(error, ENV_PREFIX)}", suggested_fix=_where()) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The settings file is not TOML: {error}", suggested_fix=_where()) from None
    check_exposure(settings)
    return settings


def unknown_variables(variables: Iterable[str]) -> list[str]:
    """Name those of `variables` that look like settings and are none, each with what may have been meant."""
    fields = Settings.model_fields
    known = {f"{ENV_PREFIX}{name.upper()}" for name in fields} | OTHER_VARIABLES
    strange = sorted({name for name in variables if name.startswith(ENV_PREFIX)} - known)
    return [f"{name}{nearest(name.removeprefix(ENV_PREFIX).lower(), fields)}" for name in strange]


def _where() -> str:
    """Say where values came from, and what there is."""
    file = _config_file()
    also = f" and {file.absolute()}" if file is not None else ""
    return f"They are read from {ENV_PREFIX}* variables{also}; docs/settings.md has all of them."


def check_exposure(settings: Settings) -> None:
    """Refuse settings that would open this machine to others.

    Raises:
        ConfigurationError: no configured keys or the process runtime on an address that is not loopback, or the
            process runtime without `unsafe`.
    """
    if settings.runtime is RuntimeName.PROCESS and not settings.unsafe:
        raise ConfigurationError(
            "The process runtime isolates nothing: code would run as this user on this machine",
            suggested_fix="Use the docker runtime, or set unsafe (--unsafe) for development with code you trust.",
        )
    if settings.loopback:
        return
    if settings.runtime is RuntimeName.PROCESS:
        raise ConfigurationError(
            f"The process runtime listens on loopback only, and host is {settings.host}",
            suggested_fix="Set host to 127.0.0.1.",
        )
    if not settings.api_keys:
        raise ConfigurationError(
            f"host is {settings.host}, which others can reach, and no api_keys are configured",
            suggested_fix=f"Set {ENV_PREFIX}API_KEYS, or listen on 127.0.0.1.",
        )
