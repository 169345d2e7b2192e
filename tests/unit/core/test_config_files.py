"""The files in config/ know every setting, and say what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from server.core.settings import Settings, WrongSetting, read_settings

CONFIG = Path(__file__).parents[3] / "config"
NAMES = sorted(Settings.model_fields)

# What interface.md promises to operators.
PROMISED = [
    *(
        "BASE_URL",
        "DATABASE_URL",
        "STORAGE_URL",
        "MASTER_KEY_FILE",
        "SMTP_URL",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
    ),
    *("TRUSTED_PROXIES", "REGION", "REGIONS", "DATA"),
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"LIGHTBOX_{name.upper()}", raising=False)


def examples() -> dict[str, str]:
    text = (CONFIG / "example.env").read_text()
    return dict(re.findall(r"^LIGHTBOX_([A-Z_]+)=(.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_the_example_knows_the_setting(name: str) -> None:
    assert name.upper() in examples()


def test_the_example_knows_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name.lower() for name in examples()} == set(NAMES)


def test_the_example_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in examples().items():
        monkeypatch.setenv(f"LIGHTBOX_{name}", value)
    found = read_settings()
    assert found.base_url == "https://images.example.org"
    assert [region.name for region in found.regions] == ["uk", "us"]


@pytest.mark.parametrize("name", PROMISED)
def test_what_was_promised_is_there(name: str) -> None:
    assert name.lower() in NAMES


def test_the_defaults_written_down_are_the_defaults() -> None:
    written = tomllib.loads((CONFIG / "default.toml").read_text())
    without = {name for name, field in Settings.model_fields.items() if field.default is None}
    assert set(written) == set(NAMES) - without
    for name, value in Settings.model_validate(written):
        assert value == Settings.model_fields[name].default, name


def test_files_stand_under_the_environment_and_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local.toml").write_text('region = "file"\nmail_from = "file@x.example"\ndata = "file"\n')
    monkeypatch.setattr(Settings, "toml_files", (CONFIG / "default.toml", tmp_path / "local.toml"))
    monkeypatch.setenv("LIGHTBOX_REGION", "environment")
    monkeypatch.setenv("LIGHTBOX_DATA", "environment")
    found = read_settings(data=Path("argument"))
    assert (found.region, found.mail_from, found.data) == ("environment", "file@x.example", Path("argument"))


@pytest.mark.parametrize(
    ("text", "says"),
    [("regoin = 'x'", "LIGHTBOX_REGOIN"), ("db_pool_size = 0", "DB_POOL_SIZE"), ("?", "TOML")],
)
def test_a_wrong_file_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    (tmp_path / "local.toml").write_text(text)
    monkeypatch.setattr(Settings, "toml_files", (tmp_path / "local.toml",))
    with pytest.raises(WrongSetting, match=says):
        read_settings()
