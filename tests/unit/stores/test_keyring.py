"""What is stored encrypted can be read with its key only, and keys can be replaced."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from penstock.core.errors import Conflict, InvalidSetting, StoreError
from penstock.stores.keyring import Keyring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "secrets.keys"


def test_what_was_sealed_opens_again_after_a_restart(path: Path) -> None:
    sealed = Keyring(path).seal(b"value", "a secret")
    assert b"value" not in sealed
    assert Keyring(path).open(sealed, "a secret") == b"value"


def test_the_file_of_keys_is_readable_for_its_owner_only(path: Path) -> None:
    Keyring(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_seals_of_one_value_differ(path: Path) -> None:
    ring = Keyring(path)
    assert ring.seal(b"value", "x") != ring.seal(b"value", "x")


def test_a_sealed_value_opens_for_what_it_was_sealed_about_only(path: Path) -> None:
    ring = Keyring(path)
    with pytest.raises(StoreError, match="was changed"):
        ring.open(ring.seal(b"value", "the secret a/x"), "the secret b/x")


def test_every_changed_byte_is_noticed(path: Path) -> None:
    ring = Keyring(path)
    sealed = ring.seal(b"value", "x")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(StoreError):
            ring.open(changed, "x")


def test_a_lost_key_is_named_as_the_trouble(path: Path, tmp_path: Path) -> None:
    sealed = Keyring(path).seal(b"value", "the secret a/x")
    with pytest.raises(StoreError, match="a/x is encrypted with is not here") as caught:
        Keyring(tmp_path / "other").open(sealed, "the secret a/x")
    assert "PENSTOCK_SECRETS_KEY" in str(caught.value)


def test_while_a_rotation_is_under_way_both_keys_open_also_after_a_crash(path: Path) -> None:
    ring = Keyring(path)
    old = ring.seal(b"old", "x")
    ring.begin_rotation()
    new = ring.seal(b"new", "x")
    again = Keyring(path)
    assert again.is_rotating
    assert (again.open(old, "x"), again.open(new, "x")) == (b"old", b"new")
    again.end_rotation()
    last = Keyring(path)
    assert last.open(new, "x") == b"new"
    with pytest.raises(StoreError):
        last.open(old, "x")


def test_given_keys_are_used_and_never_written(path: Path) -> None:
    first, second = (base64.b64encode(bytes([n] * 32)).decode() for n in (1, 2))
    sealed = Keyring(path, first).seal(b"value", "x")
    ring = Keyring(path, f"{second},{first}")
    assert ring.is_rotating
    assert ring.open(sealed, "x") == b"value"
    assert not path.exists()
    with pytest.raises(Conflict, match="PENSTOCK_SECRETS_KEY"):
        ring.begin_rotation()


@pytest.mark.parametrize("text", ["short", "AAAA", "!" * 44])
def test_a_given_key_that_is_none_is_refused_without_repeating_it(path: Path, text: str) -> None:
    with pytest.raises(InvalidSetting, match="32 bytes in base64") as caught:
        Keyring(path, text)
    assert text not in str(caught.value)


def test_a_damaged_file_of_keys_is_not_replaced_by_a_new_one(path: Path) -> None:
    Keyring(path)
    path.write_text("garbage\n")
    with pytest.raises(StoreError, match="does not hold encryption keys"):
        Keyring(path)
    assert path.read_text() == "garbage\n"


def test_the_text_of_a_keyring_shows_no_key(path: Path) -> None:
    ring = Keyring(path)
    assert path.read_text().strip() not in repr(ring)
