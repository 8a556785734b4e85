"""Which server and key are used, and how the profile is kept."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.client import config
from penstock.client.config import (
    DEFAULT_SERVER,
    check_key,
    check_server,
    profile_path,
    read_profile,
    resolve,
    resolve_server,
    same_server,
    set_process_default,
    write_profile,
)
from penstock.core.errors import InvalidSetting, NoKey

KEY = "pk_d_0123abcd_0123456789abcdef0123456789abcdef"
OTHER = "pk_d_ffffffff_ffffffffffffffffffffffffffffffff"


@pytest.fixture(autouse=True)
def own_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "conf" / "profile.json"
    monkeypatch.setenv("PENSTOCK_PROFILE", str(path))
    monkeypatch.delenv("PENSTOCK_SERVER", raising=False)
    monkeypatch.delenv("PENSTOCK_API_KEY", raising=False)
    yield path
    set_process_default(None, None)


def test_the_profile_comes_back_as_it_was_written(own_profile: Path) -> None:
    path = write_profile(server="http://10.0.0.1:8700/", api_key=KEY, project="p")
    assert path == own_profile
    found = read_profile()
    assert (found.server, found.api_key, found.project) == ("http://10.0.0.1:8700", KEY, "p")


def test_the_profile_is_readable_by_its_owner_only(own_profile: Path) -> None:
    write_profile(server=DEFAULT_SERVER, api_key=KEY)
    assert stat.S_IMODE(own_profile.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_profile.parent.stat().st_mode) == 0o700


def test_writing_the_profile_again_replaces_it_whole_and_leaves_no_other_file(
    own_profile: Path,
) -> None:
    write_profile(server="http://one:1", api_key=KEY, project="p")
    write_profile(server="http://two:2", api_key=OTHER)
    fields = json.loads(own_profile.read_text())
    assert fields == {"server": "http://two:2", "api_key": OTHER, "project": None}
    assert list(own_profile.parent.iterdir()) == [own_profile]


def test_a_profile_that_cannot_be_written_leaves_the_old_one(
    own_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(server="http://one:1", api_key=KEY)

    def no_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config.os, "fsync", no_disk)
    with pytest.raises(OSError, match="No space"):
        write_profile(server="http://two:2", api_key=OTHER)
    assert read_profile().server == "http://one:1"
    assert list(own_profile.parent.iterdir()) == [own_profile]


def test_no_profile_is_an_empty_profile() -> None:
    assert read_profile() == config.Profile()


@pytest.mark.parametrize("text", ["{", "[]", '{"server": 1}', "\xff"])
def test_a_broken_profile_is_named_with_what_to_do(own_profile: Path, text: str) -> None:
    own_profile.parent.mkdir()
    own_profile.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidSetting, match=r"profile.json.*penstock login"):
        read_profile()


def test_the_profile_is_below_the_xdg_folder_or_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PENSTOCK_PROFILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert profile_path() == tmp_path / "x" / "penstock" / "profile.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile_path() == tmp_path / ".config" / "penstock" / "profile.json"


def test_an_argument_wins_over_environment_over_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile(server="http://profile:1", api_key="from-profile")
    assert resolve() == config.Target("http://profile:1", "from-profile")
    monkeypatch.setenv("PENSTOCK_SERVER", "http://environ:2")
    monkeypatch.setenv("PENSTOCK_API_KEY", "from-environ")
    assert resolve() == config.Target("http://environ:2", "from-environ")
    assert resolve("from-argument", "http://arg:3") == config.Target(
        "http://arg:3", "from-argument"
    )


def test_without_anything_the_server_is_the_usual_one() -> None:
    assert resolve_server() == "http://127.0.0.1:8700"


def test_no_key_says_the_three_ways_to_give_one() -> None:
    with pytest.raises(NoKey) as caught:
        resolve()
    for way in ("api_key=", "PENSTOCK_API_KEY", "penstock login"):
        assert way in str(caught.value)


def test_the_profiles_key_is_not_sent_to_another_server() -> None:
    write_profile(server="http://mine:8700", api_key=KEY)
    with pytest.raises(NoKey, match="for http://mine:8700, so it was not used") as caught:
        resolve(server="http://other:8700")
    assert KEY not in str(caught.value)


def test_the_names_of_this_machine_are_the_same_server() -> None:
    write_profile(server="http://127.0.0.1:8700", api_key=KEY)
    assert resolve(server="http://localhost:8700/").api_key == KEY
    assert same_server("http://[::1]:80", "http://localhost")
    assert not same_server("http://localhost:1", "http://localhost:2")
    assert not same_server("https://a", "http://a")


def test_what_start_set_wins_over_the_environment_in_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENSTOCK_SERVER", "http://environ:2")
    monkeypatch.setenv("PENSTOCK_API_KEY", "from-environ")
    set_process_default("http://127.0.0.1:5", "from-start")
    assert resolve() == config.Target("http://127.0.0.1:5", "from-start")
    assert resolve(server="http://environ:2").api_key == "from-environ"


def test_an_address_gets_its_scheme_and_loses_its_slash() -> None:
    assert check_server(" 10.0.0.1:8700/ ") == "http://10.0.0.1:8700"
    assert check_server("https://host/below") == "https://host/below"


@pytest.mark.parametrize("given", ["ftp://x", "http://", "http://a:x", "http://k@a", "http://a?b"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidSetting, match="not the address of a server"):
        check_server(given)


@pytest.mark.parametrize("given", ["", "a b", "clé", "a\nb"])
def test_what_is_no_key_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        check_key(given)
    assert not given or given not in str(caught.value)


def test_a_key_copied_with_its_line_break_or_scheme_word_works() -> None:
    assert check_key(f" {KEY}\n") == KEY
    assert check_key(f"Bearer {KEY}") == KEY


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="must be a str, not int"):
        check_key(5)


def test_no_text_form_shows_the_key() -> None:
    write_profile(server=DEFAULT_SERVER, api_key=KEY)
    assert KEY not in repr(read_profile())
    assert KEY not in repr(resolve())
