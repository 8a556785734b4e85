"""What the server does with files on behalf of workers: nobody can put anything in their place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.codec.sandbox import Sandbox
from penstock.engine.base import Environment, VersionKey, VersionSpec
from penstock.engine.local.home import Home, places

USER = 212_345

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


class OfAProject:
    """Confines as a server that is root does: one user for the project."""

    def sandbox(self, key: VersionKey, home: Path, network: str) -> Sandbox:
        return Sandbox(tier="guarded", home=str(home), network=network, user=USER)


def home_of(scratch: Path, environment: Environment | None = None) -> Home:
    spec = VersionSpec(VersionKey("shop", "prices", 1), b"", {}, environment=environment)
    return Home(scratch, spec, OfAProject())  # type: ignore[arg-type]


@needs_root
def test_a_projects_user_may_write_to_the_folders_of_its_processes_only(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    home = home_of(tmp_path)
    folder = home.folder("worker")
    home.make(folder)
    lent = Path(home.lend({"abc": blob})["abc"])
    assert lent.read_bytes() == b"weights"
    assert folder.stat().st_uid == USER
    for holder in (home.path, lent.parent):
        found = holder.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, USER, 0o710), holder
    home.remove()
    assert not home.path.exists()
    assert not lent.exists()
    assert blob.read_bytes() == b"weights"


@needs_root
def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    home.make(home.folder("template"))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    folder = home.folder("worker")
    folder.symlink_to(theirs)
    home.make(folder)
    assert theirs.stat().st_uid == 0


def test_versions_of_an_environment_lie_apart_from_those_of_others(tmp_path: Path) -> None:
    environment = Environment("key", Path("/usr/bin/python3"), tmp_path, "")
    mine, other = home_of(tmp_path, environment), home_of(tmp_path)
    homes, files = places(tmp_path, environment)
    assert homes in mine.path.parents
    assert homes not in other.path.parents
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    assert files in Path(mine.lend({"abc": blob})["abc"]).parents
