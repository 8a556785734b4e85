"""Control groups: the kernel's own limit on the memory and the processes of a worker.

`find` looks whether the server may make groups below its own: with version 2 where that is
delegated to it (a unit with `Delegate=yes`, a container with its own writable groups), with version
1 where it is root. `engine.local.fences` puts workers into them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: What the names of our groups begin with; the server's process id and a number follow.
PREFIX = "penstock-"

_PROCS, _SUBTREE = "cgroup.procs", "cgroup.subtree_control"


@dataclass(frozen=True)
class Controllers:
    """Where the server may make groups, and what the files in them are called.

    Attributes:
        version: 1 or 2.
        folders: The server's own group by controller; one and the same in version 2.
    """

    version: int
    folders: Mapping[str, Path]

    def make(self, name: str, memory_bytes: int, processes: int) -> Group:
        """Make a group with these limits.

        Raises:
            OSError: It cannot be made; nothing is left of it.
        """
        group = Group(self.version, {kind: f / name for kind, f in self.folders.items()})
        try:
            for folder in group.places():
                folder.mkdir(exist_ok=True)
            group.limit(memory_bytes, processes)
        except OSError:
            group.remove()
            raise
        return group

    def clear(self) -> None:
        """Remove what servers left behind that were killed: groups without a process."""
        for folder in set(self.folders.values()):
            for left in folder.glob(f"{PREFIX}*-*"):
                with suppress(OSError):
                    left.rmdir()


@dataclass(frozen=True)
class Group:
    """One group of processes; the same name in the hierarchy of each controller."""

    version: int
    folders: Mapping[str, Path]

    def places(self) -> Iterator[Path]:
        """Yield its folders, each once."""
        yield from dict.fromkeys(self.folders.values())

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Set what all its processes together may take.

        Raises:
            OSError: The kernel refuses.
        """
        memory = self.folders["memory"]
        if self.version == 2:
            _write(memory / "memory.max", memory_bytes)
            for name, value in (("memory.swap.max", 0), ("memory.oom.group", 1)):
                with suppress(OSError):  # kernels without swap, or older ones, lack them
                    _write(memory / name, value)
        else:
            _write(memory / "memory.limit_in_bytes", memory_bytes)
            with suppress(OSError):
                _write(memory / "memory.memsw.limit_in_bytes", memory_bytes)
        if "pids" in self.folders:
            _write(self.folders["pids"] / "pids.max", processes)

    def add(self, pid: int) -> None:
        """Put a process into it, and what that starts from now on.

        Raises:
            OSError: It is gone, or the kernel refuses.
        """
        for folder in self.places():
            _write(folder / _PROCS, pid)

    def killed(self) -> int:
        """Return how many of its processes the kernel has ended for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        with suppress(OSError, ValueError):
            for line in (self.folders["memory"] / name).read_text().splitlines():
                what, _, count = line.partition(" ")
                if what == "oom_kill":
                    return int(count)
        return 0

    def end(self) -> None:
        """Kill every process in it."""
        for pid in _words(self.folders["memory"] / _PROCS):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> bool:
        """Remove it; False while it has processes."""
        for folder in self.places():
            with suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self.places())


def find(proc: Path = Path("/proc/self")) -> tuple[Controllers | None, str]:
    """Return where groups can be made, or None and why not, as a sentence.

    With version 2 the server's own process moves into a group beside those of its workers: a group
    that limits others may hold no process itself.
    """
    try:
        mounts = list(_mounts((proc / "mountinfo").read_text()))
        own = _own((proc / "cgroup").read_text())
    except (OSError, ValueError) as error:
        return None, f"The control groups of this process cannot be found: {error}."
    second = next((m.folder(own[""]) for m in mounts if m.version == 2 and "" in own), None)
    if second is not None and "memory" in _words(second / "cgroup.controllers"):
        return _second(second)
    first = {
        m.controller: m.folder(own[m.controller])
        for m in mounts
        if m.version == 1 and m.controller in own
    }
    if "memory" in first:
        return _first(first)
    return None, "No control group with memory in it is delegated to the server."


@dataclass(frozen=True)
class _Mount:
    version: int
    controller: str
    root: str
    place: Path

    def folder(self, path: str) -> Path:
        """Return where the group `path` of this hierarchy is seen."""
        below = os.path.relpath(path, self.root) if self.root != "/" else path.lstrip("/")
        return self.place / below if below not in {"", "."} else self.place


def _mounts(text: str) -> Iterator[_Mount]:
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        root, place = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            yield _Mount(2, "", root, Path(place))
        elif kind == "cgroup":
            for name in {"memory", "pids"} & set(options.rsplit(" ", 1)[-1].split(",")):
                yield _Mount(1, name, root, Path(place))


def _own(text: str) -> dict[str, str]:
    """Return the path of this process's group by controller, "" for version 2."""
    lines = (line.split(":", 2) for line in text.splitlines())
    return {name: path for _, names, path in lines for name in names.split(",")}


def _first(folders: dict[str, Path]) -> tuple[Controllers | None, str]:
    for kind, folder in folders.items():
        if not os.access(folder, os.W_OK):
            return None, f"The server may make no control groups for {kind}."
    found = Controllers(1, folders)
    found.clear()
    return _tried(found)


def _second(folder: Path) -> tuple[Controllers | None, str]:
    for name in ("", _PROCS, _SUBTREE):
        if not os.access(folder / name, os.W_OK):
            return None, f"The control group {folder} is not delegated to the server."
    found = Controllers(2, {"memory": folder, "pids": folder})
    found.clear()
    try:
        if "memory" not in _words(folder / _SUBTREE):
            why = _move_aside(folder)
            if why:
                return None, why
            _write(folder / _SUBTREE, "+memory")
        if "pids" in _words(folder / "cgroup.controllers"):
            _write(folder / _SUBTREE, "+pids")
        else:
            found = Controllers(2, {"memory": folder})
    except OSError as error:
        return None, f"The control group {folder} cannot be divided: {error.strerror}."
    return _tried(found)


def _move_aside(folder: Path) -> str:
    """Move this process out of its group, which may hold none of others; return why not."""
    members = _words(folder / _PROCS)
    others = [pid for pid in members if pid not in {"0", str(os.getpid())}]
    if others:
        return f"Other processes share the server's control group {folder}."
    if members and (folder / "cgroup.type").exists():  # the root may hold some
        aside = folder / f"{PREFIX}server"
        aside.mkdir(exist_ok=True)
        _write(aside / _PROCS, os.getpid())
    return ""


def _tried(found: Controllers) -> tuple[Controllers | None, str]:
    """Make a group and remove it: some systems let nobody."""
    try:
        found.make(f"{PREFIX}{os.getpid()}-0", 1 << 30, 64).remove()
    except OSError as error:
        return None, f"The server may make no control groups: {error.strerror or error}."
    return found, ""


def _words(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().split()
    return []


def _write(path: Path, value: object) -> None:
    # No new file: a name that the kernel does not have is an error.
    with path.open("r+") as file:
        file.write(str(value))
