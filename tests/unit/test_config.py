"""Settings: where they come from, what is refused, and that they are documented."""

import stat
from pathlib import Path

import pytest

from sandbox.config import RuntimeName, Settings, load_settings, unknown_variables
from sandbox.config_page import settings_markdown
from sandbox.errors import ConfigurationError
from sandbox.kept import load_or_make

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WORKBENCH_{name.upper()}", raising=False)
    monkeypatch.delenv("WORKBENCH_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def refused(**given: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**given)
    return caught.value.message


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.runtime) == ("127.0.0.1", 8380, RuntimeName.DOCKER)
    assert settings.url == "http://127.0.0.1:8380"


def test_the_environment_wins_over_the_file_and_the_caller_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "workbench.toml").write_text("port = 1\npool_size = 7\nlog_level = 'error'\n")
    monkeypatch.setenv("WORKBENCH_PORT", "2")
    monkeypatch.setenv("WORKBENCH_LOG_LEVEL", "debug")
    settings = load_settings(log_level="warning", pool_size=None)
    assert (settings.pool_size, settings.port, settings.log_level) == (7, 2, "warning")


def test_the_file_can_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("api_keys = ['first-key', 'second-key']\n")
    monkeypatch.setenv("WORKBENCH_CONFIG", str(file))
    assert [key.get_secret_value() for key in load_settings().api_keys] == ["first-key", "second-key"]


def test_keys_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_API_KEYS", "first-key, second-key,")
    assert [key.get_secret_value() for key in load_settings().api_keys] == ["first-key", "second-key"]


def test_an_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text("prot = 1\nelephant = 'x'\n")
    assert refused() == "Invalid settings: prot: no such setting (perhaps `port`); elephant: no such setting"


def test_a_refusal_says_which_file_and_variables_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def advice() -> str:
        with pytest.raises(ConfigurationError) as refusal:
            load_settings()
        return str(refusal.value.suggested_fix)

    (tmp_path / "workbench.toml").write_text("pool_size = 'two'\n")
    assert str(tmp_path / "workbench.toml") in advice()
    assert "docs/settings.md" in advice()
    (tmp_path / "workbench.toml").unlink()
    monkeypatch.setenv("WORKBENCH_POOL_SIZE", "two")
    assert "workbench.toml" not in advice()
    assert "WORKBENCH_" in advice()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[mcp_servers.time]\ncommand = 'mcp-server-time'",
            'mcp_servers.time.command: has to be a list, as in ["..."]',
        ),
        ("api_keys = 'short'", "api_keys: an API key has to have at least 8 characters"),
        ("[mcp_servers.time]\ncomand = ['x']", "mcp_servers.time.comand: no such setting"),
    ],
)
def test_a_refusal_is_in_words_of_the_file(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "workbench.toml").write_text(text)
    assert refused() == f"Invalid settings: {words}"


def test_a_table_in_the_environment_has_to_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MCP_SERVERS", "secret-in-the-wrong-place")
    assert refused() == "Invalid settings: mcp_servers: WORKBENCH_MCP_SERVERS has to hold JSON"


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CONFIG", "nowhere.toml")
    assert "nowhere.toml" in refused()


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text("port: 1")
    assert "not TOML" in refused()


def test_a_value_of_the_wrong_type_is_named_and_not_repeated() -> None:
    assert refused(port="secret-in-the-wrong-place").startswith("Invalid settings: port: ")
    assert "secret-in-the-wrong-place" not in refused(port="secret-in-the-wrong-place")


def test_a_default_time_limit_over_its_ceiling_is_refused() -> None:
    assert "bash_timeout_default_s (300) is over bash_timeout_max_s (10)" in refused(bash_timeout_max_s=10)


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("name", ["pause_after_s", "admission_wait_s", "helper_timeout_s"])
def test_a_number_of_seconds_is_finite(name: str, value: str) -> None:
    assert refused(**{name: value}) == f"Invalid settings: {name}: Input should be a finite number"


def test_a_public_url_has_to_be_one() -> None:
    assert refused(public_url="w.example.test") == (
        "Invalid settings: public_url: has to be a URL that begins with http:// or https://"
    )


def test_variables_that_are_no_settings_are_found() -> None:
    used = ["WORKBENCH_API_KEY", "WORKBENCH_URL", "WORKBENCH_CONFIG", "WORKBENCH_PORT", "PATH"]
    assert unknown_variables([*used, "WORKBENCH_POOLSIZE", "WORKBENCH_ELEPHANT"]) == [
        "WORKBENCH_ELEPHANT",
        "WORKBENCH_POOLSIZE (perhaps `pool_size`)",
    ]


def test_short_keys_are_refused() -> None:
    assert "at least 8 characters" in refused(api_keys="short")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.test"])
def test_others_are_let_in_only_with_configured_keys(host: str) -> None:
    assert "no api_keys are configured" in refused(host=host)
    assert load_settings(host=host, api_keys="a-long-enough-key").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_configured_keys(host: str) -> None:
    assert load_settings(host=host).loopback


def test_the_process_runtime_has_to_be_asked_for_twice() -> None:
    assert "isolates nothing" in refused(runtime="process")
    assert load_settings(runtime="process", unsafe=True).unsafe


def test_the_process_runtime_never_listens_for_others() -> None:
    assert "loopback only" in refused(runtime="process", unsafe=True, host="0.0.0.0", api_keys="a-long-enough-key")


def test_secrets_are_not_shown() -> None:
    settings = load_settings(api_keys="a-long-enough-key", database_url="postgresql://u:pw-of-mine@h/d")
    assert "a-long-enough-key" not in repr(settings)
    assert "pw-of-mine" not in repr(settings)


def test_the_url_for_clients_can_be_another_than_the_address() -> None:
    assert load_settings(public_url="https://w.example.test/").url == "https://w.example.test"
    assert load_settings(host="::1").url == "http://[::1]:8380"


def test_every_setting_is_documented() -> None:
    assert DOCS.read_text(encoding="utf-8") == settings_markdown(), (
        "docs/settings.md is not what sandbox.config_page.settings_markdown() gives"
    )


def test_every_setting_has_one_line_of_help() -> None:
    for name, info in Settings.model_fields.items():
        assert info.description, name
        assert "\n" not in info.description, name


def test_what_is_made_once_is_kept_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    assert load_or_make(path, lambda: "first") == ("first", True)
    assert load_or_make(path, lambda: "second") == ("first", False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        load_or_make(tmp_path / "file" / "secret", lambda: "x")


def test_a_key_can_have_idle_settings_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text("stop_after_s = 7\n[key_overrides.own_1]\npause_after_s = 0\n")
    overrides = load_settings().key_overrides["own_1"]
    assert overrides.model_dump(exclude_none=True) == {"pause_after_s": 0.0}
    monkeypatch.setenv("WORKBENCH_KEY_OVERRIDES", '{"own_1": {"pause_later_s": 1}}')
    assert refused() == "Invalid settings: key_overrides.own_1.pause_later_s: no such setting"
