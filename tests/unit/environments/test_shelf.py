"""The folder of environments: addressed, read-only, collected after a grace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from penstock.core.interpreter import Interpreter
from penstock.environments.lock import Lock, packages_of
from penstock.environments.shelf import Shelf, missing_packages, remove

KEY, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "environments").prepare()


def add(shelf: Shelf, key: str = KEY, **wheels: str) -> Lock:
    lock = Lock(key, Interpreter.current(), "cpython-311", "a==1\n", {"a": "1"}, ("a",), wheels)
    shelf.remember(lock)
    folder = shelf.new_folder()
    site = folder / "lib" / "python3.11" / "site-packages"
    (site / "a-1.dist-info").mkdir(parents=True)
    (site / "a.py").write_text("A = 1\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(os.sys.executable)  # type: ignore[attr-defined]
    shelf.put(key, folder, 1.5)
    return lock


def test_a_built_environment_is_read_only_and_knows_how_it_was_built(shelf: Shelf) -> None:
    add(shelf)
    assert shelf.is_built(KEY)
    built = shelf.built(KEY)
    assert built is not None
    assert (built.seconds, built.size_bytes) == (1.5, len("A = 1\n"))
    for path in [shelf.path(KEY), *shelf.path(KEY).rglob("*")]:
        if not path.is_symlink() and path.name != "built.json":
            assert not stat.S_IMODE(path.stat().st_mode) & 0o222, path


def test_a_next_start_finds_what_was_built_and_drops_what_was_not_finished(shelf: Shelf) -> None:
    lock = add(shelf)
    (shelf.new_folder() / "half").write_text("x")
    again = Shelf(shelf.root).prepare()
    assert again.lock(KEY) == lock
    assert again.is_built(KEY)
    assert list((shelf.root / "building").iterdir()) == []


def test_an_environment_whose_interpreter_is_gone_is_not_built(shelf: Shelf) -> None:
    add(shelf)
    (shelf.path(KEY) / "bin").chmod(0o755)
    (shelf.python(KEY)).unlink()
    (shelf.python(KEY)).symlink_to("/nowhere/python")
    assert not shelf.is_built(KEY)


def test_a_request_is_answered_by_the_lock_it_resolved_to(shelf: Shelf) -> None:
    lock = add(shelf)
    assert shelf.answer_to("f" * 64) is None
    shelf.remember_answer("f" * 64, KEY)
    assert shelf.answer_to("f" * 64) == lock


def test_an_unused_environment_goes_after_the_grace_and_a_used_one_stays(shelf: Shelf) -> None:
    add(shelf)
    add(shelf, OTHER)
    shelf.remember_answer("f" * 64, KEY)
    assert shelf.collect({OTHER}, 100, now=1000) == []
    assert shelf.collect({OTHER}, 100, now=1099) == []
    assert shelf.collect({OTHER}, 100, now=1100) == [KEY]
    assert shelf.all_keys() == [OTHER]
    assert not shelf.path(KEY).exists()
    assert shelf.answer_to("f" * 64) is None


def test_an_environment_that_is_used_again_in_time_starts_its_grace_anew(shelf: Shelf) -> None:
    add(shelf)
    shelf.collect(set(), 100, now=1000)
    shelf.collect({KEY}, 100, now=1050)
    shelf.collect(set(), 100, now=1060)
    assert shelf.collect(set(), 100, now=1150) == []
    assert shelf.collect(set(), 100, now=1160) == [KEY]


def test_an_environment_without_its_lock_is_deleted(shelf: Shelf) -> None:
    add(shelf)
    (shelf.root / f"{KEY}.lock.json").unlink()
    shelf.collect({KEY}, 100, now=1000)
    assert not shelf.path(KEY).exists()


def test_uploaded_wheels_are_kept_as_long_as_a_lock_needs_them(
    shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(b"wheel")
    sha256 = "c" * 64
    folder = shelf.wheel_folder("own-1-py3-none-any.whl", sha256, tmp_path / "blob")
    assert [p.name for p in folder.iterdir()] == ["own-1-py3-none-any.whl"]
    add(shelf, **{"own-1-py3-none-any.whl": sha256})
    shelf.collect({KEY}, 0, now=1000)
    assert folder.exists()
    shelf.delete(KEY)
    shelf.collect(set(), 0, now=1000)
    assert not folder.exists()


def test_what_an_environment_has_lost_is_found(shelf: Shelf) -> None:
    lock = add(shelf)
    assert missing_packages(lock, shelf.path(KEY)) == []
    remove(next(shelf.path(KEY).rglob("a-1.dist-info")))
    for folder in (shelf.path(KEY) / "lib" / "python3.11" / "site-packages",):
        folder.chmod(0o755)
        remove(folder / "a-1.dist-info")
        if (folder / "a-1.dist-info").exists():
            (folder / "a-1.dist-info").rmdir()
    assert missing_packages(lock, shelf.path(KEY)) == ["a"]


def test_a_lock_says_what_it_holds() -> None:
    text = (
        "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "uvicorn[standard]==0.40\n# a comment\n"
        "thing @ https://files.example/thing-1.0-py3-none-any.whl \\\n    --hash=sha256:cc\n"
    )
    assert packages_of(text) == {
        "numpy": "2.4.6",
        "thing": "https://files.example/thing-1.0-py3-none-any.whl",
        "uvicorn": "0.40",
    }
