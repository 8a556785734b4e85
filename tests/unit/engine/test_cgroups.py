"""Where control groups are looked for, what is written into them, and why there are none.

The trees are folders that look like the kernel's; `integration/engine/test_engine_fences.py` uses
the kernel's own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.engine.sandbox import cgroups
from penstock.engine.sandbox.cgroups import Controllers, Group


class Tree:
    """A place like `/proc/self`, and a hierarchy of version 2 beside it."""

    def __init__(self, folder: Path, own: str = "/system.slice/penstock.service") -> None:
        self.proc, self.root = folder / "proc", folder / "groups"
        self.own = self.root / own.lstrip("/")
        for place in (self.proc, self.own):
            place.mkdir(parents=True)
        mount = f"30 20 0:26 / {self.root} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
        (self.proc / "mountinfo").write_text("29 20 0:25 / / rw - ext4 /dev/sda rw\n" + mount)
        (self.proc / "cgroup").write_text(f"0::{own}\n")
        for name, text in (
            ("cgroup.controllers", "cpu memory pids\n"), ("cgroup.procs", f"{os.getpid()}\n"),
            ("cgroup.subtree_control", ""), ("cgroup.type", "domain\n"),
        ):  # fmt: skip
            (self.own / name).write_text(text)

    def find(self) -> tuple[Controllers | None, str]:
        return cgroups.find(self.proc)


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have new folders hold the kernel's files, and let go of them with these inside."""
    mkdir, rmdir = Path.mkdir, Path.rmdir
    files = ("cgroup.procs", "memory.max", "memory.swap.max", "memory.oom.group", "pids.max")

    def make(self: Path, *args: object, **kwargs: object) -> None:
        mkdir(self, *args, **kwargs)  # type: ignore[arg-type]
        if self.name.startswith(cgroups.PREFIX):
            for name in files:
                (self / name).touch()

    def remove(self: Path) -> None:
        for file in self.iterdir():
            file.unlink()
        rmdir(self)

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(Path, "rmdir", remove)


def test_a_delegated_group_is_divided_and_the_server_moves_aside(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    found, why = tree.find()
    assert found == Controllers(2, {"memory": tree.own, "pids": tree.own}), why
    aside = tree.own / "penstock-server"
    assert (aside / "cgroup.procs").read_text() == str(os.getpid())
    assert (tree.own / "cgroup.subtree_control").read_text().startswith("+pids")
    assert [path.name for path in tree.own.glob("penstock-*")] == ["penstock-server"]


def test_a_group_gets_its_limits_and_its_processes(tmp_path: Path) -> None:
    found, _ = Tree(tmp_path).find()
    assert found is not None
    group = found.make("penstock-1-1", 96 << 20, 4096)
    [folder] = group.places()
    group.add(77)
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written == {
        "cgroup.procs": "77", "memory.max": str(96 << 20), "memory.swap.max": "0",
        "memory.oom.group": "1", "pids.max": "4096",
    }  # fmt: skip
    assert group.killed() == 0
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert group.killed() == 2
    assert group.remove()
    assert not folder.exists()


def test_a_shared_group_is_left_as_it_is(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.own / "cgroup.procs").write_text(f"{os.getpid()}\n1234567\n")
    found, why = tree.find()
    assert found is None
    assert why.startswith("Other processes share the server's control group")
    assert not (tree.own / "penstock-server").exists()


@pytest.mark.parametrize("text", ["hugetlb\n", ""])
def test_without_the_memory_controller_there_are_none(tmp_path: Path, text: str) -> None:
    tree = Tree(tmp_path)
    (tree.own / "cgroup.controllers").write_text(text)
    assert tree.find() == (None, "No control group with memory in it is delegated to the server.")


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights for a moment, where the tests run as root, who may everything."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_group_that_is_not_the_servers_is_not_used() -> None:
    with tempfile.TemporaryDirectory() as name:  # not below a folder that only root may enter
        folder = Path(name)
        folder.chmod(0o755)
        tree = Tree(folder)
        files = [tree.own / file for file in ("cgroup.procs", "cgroup.subtree_control")]
        for place in (tree.own, *files):
            place.chmod(0o777)
        with nobody():
            found, why = tree.find()
        assert found is not None, why
        for place in (*files, tree.own):
            place.chmod(0o555)
            with nobody():
                found, why = tree.find()
            assert found is None
            assert why == f"The control group {tree.own} is not delegated to the server."
            place.chmod(0o777)


def test_the_first_version_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    lines, own = [], ["5:name=systemd:/"]
    for kind in ("memory", "pids"):
        place = tmp_path / kind
        (place / "box").mkdir(parents=True)
        lines.append(f"35 31 0:32 /outer {place} rw - cgroup cgroup rw,{kind}")
        own.append(f"4:{kind}:/outer/box")
    (tree.proc / "mountinfo").write_text("\n".join(lines))
    (tree.proc / "cgroup").write_text("\n".join(own))
    found, why = tree.find()
    assert found is None, why  # these folders lack the kernel's files of version 1
    assert "memory.limit_in_bytes" not in why
    group = Group(1, {"memory": tmp_path / "memory" / "box"})
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        (tmp_path / "memory" / "box" / name).touch()
    group.limit(5, 6)
    assert (tmp_path / "memory" / "box" / "memory.limit_in_bytes").read_text() == "5"


def test_a_machine_without_proc_has_none(tmp_path: Path) -> None:
    found, why = cgroups.find(tmp_path / "gone")
    assert found is None
    assert why.startswith("The control groups of this process cannot be found")
