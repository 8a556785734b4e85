"""Where packages come from: the server's settings, uv's variables, pip's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.environments.pip_config import read_pip_config
from penstock.environments.sources import BEST, FIRST, Sources, with_pip_config, without_password


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a user's configuration of pip, and a machine's beside it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "pip.conf").write_text(
        "[global]\nindex-url = https://machine.example/simple\ncert = /etc/ca.pem\n"
    )
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nfind-links =\n    /wheels/a\n    ~/wheels\ntimeout = 7\n"
        "[install]\nextra_index_url = https://one.example https://two.example\n"
        "[list]\nindex-url = https://not.for.installing\n"
    )
    return tmp_path


def pip(home: Path, **environ: str) -> dict[str, str]:
    return read_pip_config({"HOME": str(home), **environ}, machine=home / "etc")


def test_pips_files_are_read_in_its_order_and_only_for_installing(home: Path) -> None:
    found = pip(home)
    assert found["index-url"] == "https://machine.example/simple"
    assert found["find-links"] == "/wheels/a ~/wheels"
    assert found["extra-index-url"] == "https://one.example https://two.example"


def test_pips_variables_count_more_than_its_files(home: Path) -> None:
    found = pip(home, PIP_INDEX_URL="https://variable.example", PIP_FIND_LINKS="/opt/a /opt/b")
    assert found["index-url"] == "https://variable.example"
    assert found["find-links"] == "/opt/a /opt/b"


def test_a_file_that_is_named_comes_last_and_devnull_means_none(home: Path) -> None:
    named = home / "mine.conf"
    named.write_text("[global]\nindex-url = https://named.example\n")
    assert pip(home, PIP_CONFIG_FILE=str(named))["index-url"] == "https://named.example"
    assert pip(home, PIP_CONFIG_FILE="/dev/null") == {}


def test_a_broken_file_of_pip_does_no_harm(home: Path) -> None:
    (home / "etc" / "pip.conf").write_text("index-url without a section")
    assert "index-url" not in pip(home)


def test_pips_configuration_fills_in_what_the_settings_leave_open(home: Path) -> None:
    found = with_pip_config(Sources(), environ={}, pip=pip(home))
    assert found.index == "https://machine.example/simple"
    assert found.extra_indexes == ("https://one.example", "https://two.example")
    assert found.folders == ("/wheels/a", str(Path("~/wheels").expanduser()))
    assert (found.cert, found.timeout_s) == ("/etc/ca.pem", 7.0)


def test_settings_count_more_than_pip_and_uvs_variables_are_left_to_uv(home: Path) -> None:
    given = Sources(index="https://setting.example")
    environ = {"UV_INDEX": "https://uv.example", "SSL_CERT_FILE": "/etc/uv.pem"}
    found = with_pip_config(given, environ=environ, pip=pip(home))
    assert found.index == "https://setting.example"
    assert (found.extra_indexes, found.cert) == ((), "")


@pytest.mark.parametrize(
    ("given", "strategy", "expected"),
    [
        (Sources(), "auto", BEST),
        (Sources(extra_indexes=("https://ours.example",)), "auto", FIRST),
        (Sources(), FIRST, FIRST),
        (Sources(extra_indexes=("https://ours.example",)), BEST, BEST),
    ],
)
def test_indexes_of_the_settings_come_first_and_those_of_pip_are_one(
    home: Path, given: Sources, strategy: str, expected: str
) -> None:
    found = with_pip_config(given, strategy=strategy, environ={}, pip=pip(home))
    assert found.strategy == expected


def test_only_wheels_are_taken_unless_building_is_allowed() -> None:
    assert "--no-build" in Sources().arguments()
    assert "--no-build" not in Sources(builds=True).arguments()


def test_addresses_travel_in_variables_and_are_shown_without_passwords() -> None:
    sources = Sources(index="https://me:secret@index.example/simple", offline=True)
    assert not any("secret" in text for text in [*sources.arguments(), *sources.fingerprint()])
    assert sources.variables()["UV_DEFAULT_INDEX"] == "https://me:secret@index.example/simple"
    assert without_password("https://me:secret@a.example/x") == "https://a.example/x"
    assert without_password("/opt/wheels") == "/opt/wheels"
