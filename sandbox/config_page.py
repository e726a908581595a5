"""The page of the documentation that lists all settings."""

from pydantic.fields import FieldInfo

from sandbox.config import CONFIG_FILE, CONFIG_VARIABLE, ENV_PREFIX, Settings


def settings_markdown() -> str:
    """Render all settings as the page `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        f"Each setting can be given in the environment (`{ENV_PREFIX}` and the name in capitals) or in a TOML file:",
        f"the one that `{CONFIG_VARIABLE}` names, else `{CONFIG_FILE}` in the current folder. The environment wins.",
        "An unknown name in the file is an error.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {_default_text(info)} | {info.description} |" for name, info in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def _default_text(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "shown" in extra:
        return str(extra["shown"])
    value = info.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"
