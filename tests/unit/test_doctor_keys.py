"""The owner ids that `workbench doctor` names."""

from pathlib import Path

from pydantic import SecretStr

from sandbox.api.keys import KeyRing
from sandbox.config import load_settings
from sandbox.doctor.finding import Outcome
from sandbox.doctor.keys import owners

KEY = SecretStr("key-of-a-client")
OWNER = KeyRing([KEY]).owner_of(KEY.get_secret_value())


def test_the_owner_id_of_each_key_is_named_and_the_key_is_not(tmp_path: Path) -> None:
    finding = owners(load_settings(data_dir=tmp_path, api_keys=KEY.get_secret_value(), key_overrides={OWNER: {}}))
    assert finding.outcome is Outcome.OK
    assert OWNER in finding.words
    assert KEY.get_secret_value() not in finding.words


def test_the_key_that_was_made_at_the_start_counts_too(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    assert "none yet" in owners(settings).words
    settings.key_path.write_text(KEY.get_secret_value() + "\n")
    assert OWNER in owners(settings).words


def test_overrides_of_an_owner_that_does_not_exist_are_named(tmp_path: Path) -> None:
    finding = owners(load_settings(data_dir=tmp_path, api_keys=KEY.get_secret_value(), key_overrides={"own_x": {}}))
    assert finding.outcome is Outcome.FAILED
    assert "own_x" in finding.words
