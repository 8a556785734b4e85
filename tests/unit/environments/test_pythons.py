"""Interpreters are found where people keep them; what is no usable Python is passed over."""

from __future__ import annotations

import sys
from pathlib import Path

import interpreters
import pytest

from penstock.core.errors import InvalidSetting
from penstock.environments import pythons

OTHER = next(iter(interpreters.others().items()), None)
elsewhere = pytest.mark.skipif(OTHER is None, reason="no other Python on this machine")


def place(home: Path, version: str, target: Path | None = None) -> Path:
    """Put an interpreter of `version` into an installation's folder, or what claims to be one."""
    minor = ".".join(version.split(".")[:2])
    path = home / version / "bin" / f"python{minor}"
    path.parent.mkdir(parents=True)
    if target is None:
        path.write_text("#!/bin/sh\necho nonsense\n")
        path.chmod(0o755)
    else:
        path.symlink_to(target)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing can be found."""
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "none")}


def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have this interpreter seem to be installed in a folder of its own; return that folder."""
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "versions" / "own"))
    return tmp_path / "versions"


def found(environ: dict[str, str]) -> list[Path]:
    return [python.path for python in pythons.find("auto", environ)[1:]]


@elsewhere
def test_installations_beside_the_servers_own_are_found_whatever_home_is(
    tmp_path: Path, bare: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = alone(tmp_path, monkeypatch)
    assert found(bare) == []
    minor, target = OTHER
    path = place(versions, f"{minor}.99", target)
    place(versions, "3.14.0")
    assert found(bare) == [path]


@elsewhere
def test_those_of_uv_have_their_own_names_beside_each_other(
    tmp_path: Path, bare: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = alone(tmp_path, monkeypatch)
    minor, target = OTHER
    path = versions / f"cpython-{minor}.99-linux" / "bin" / f"python{minor}"
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    assert found(bare) == [path]


@elsewhere
@pytest.mark.parametrize("variable", ["PYENV_ROOT", "HOME"])
def test_those_of_pyenv_are_found(
    tmp_path: Path, bare: dict[str, str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    alone(tmp_path, monkeypatch)
    minor, target = OTHER
    root = tmp_path / "root" if variable == "PYENV_ROOT" else tmp_path / "root" / ".pyenv"
    path = place(root / "versions", f"{minor}.99", target)
    assert found({**bare, variable: str(tmp_path / "root")}) == [path]


@elsewhere
def test_those_on_path_are_found_but_no_shims(
    tmp_path: Path, bare: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(tmp_path, monkeypatch)
    minor, target = OTHER
    for folder in ("shims", "bin"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"python{minor}").symlink_to(target)
        path = [str(tmp_path / "shims")] + ([str(tmp_path / "bin")] if folder == "bin" else [])
        expected = [tmp_path / "bin" / f"python{minor}"] if folder == "bin" else []
        assert found({**bare, "PATH": ":".join(path)}) == expected


def test_own_is_the_servers_only_and_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    (only,) = pythons.find("own")
    assert only.path == Path(sys.executable)
    fake = place(tmp_path, "3.12.1")
    with pytest.raises(InvalidSetting, match=r"python3\.12.*no Python"):
        pythons.find(str(fake))


def test_a_folder_of_somebody_elses_that_a_variable_names_holds_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def closed(_path: Path, _pattern: str) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "glob", closed)
    environ = {"PYENV_ROOT": str(tmp_path), "PATH": ""}
    assert [python.path for python in pythons.find("auto", environ)] == [pythons.own().path]
