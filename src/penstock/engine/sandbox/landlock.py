"""Landlock: which files a process may open, which ports it may use. For good, and for its children.

Every layer that a process puts on itself narrows what it may do. Layers cost about 0.1 ms. What the
kernel does not know yet is left out; `Rules.apply` takes whatever the version of its interface has.
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from penstock.engine.sandbox import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
_MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

#: Rights that each version of the interface brought, beginning with version 1.
_BROUGHT = ((1 << 13) - 1, _REFER, _TRUNCATE, 0, _IOCTL_DEV)

_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT, _SCOPE_SIGNAL = 1 << 0, 1 << 1

_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

#: Rights that make sense for something that is not a folder.
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

READ = _READ_FILE | _READ_DIR
RUN = READ | _EXECUTE
WRITE = (
    _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO
    | _MAKE_SYM | _REFER | _TRUNCATE
)  # fmt: skip
DEVICE = _READ_FILE | _WRITE_FILE | _IOCTL_DEV

#: What a layer that only narrows writing has a say in.
_WRITING = WRITE | _MAKE_CHAR | _MAKE_BLOCK


@functools.lru_cache(maxsize=1)
def version() -> int:
    """Return the version of the kernel's Landlock interface; 0 if there is none."""
    if sys.platform != "linux":
        return 0
    nothing = ctypes.c_void_p()
    try:
        return kernel.syscall(
            kernel.LANDLOCK_CREATE_RULESET, nothing, ctypes.c_size_t(0), _VERSION_FLAG
        )
    except OSError:
        return 0


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


@dataclass(frozen=True)
class Rules:
    """One layer.

    Attributes:
        allowed: Rights by path; paths that do not exist are left out.
        only_writing: Have no say in reading and running.
        no_tcp: Allow no TCP port to be bound or connected to (version 4 and later).
        scoped: Keep signals and abstract sockets to the processes of this layer (version 6).
    """

    allowed: Iterable[tuple[str, int]]
    only_writing: bool = False
    no_tcp: bool = False
    scoped: bool = False

    def apply(self, found: int) -> None:
        """Put the layer on this thread; `found` is what `version` returned, 1 or more.

        `no_new_privileges` must have been called.

        Raises:
            OSError: The kernel refuses.
        """
        known = 0
        for rights in _BROUGHT[:found]:
            known |= rights
        handled = known & _WRITING if self.only_writing else known
        layer = self._open(handled, found)
        try:
            for path, rights in self.allowed:
                _allow(layer, path, rights & handled)
            kernel.syscall(kernel.LANDLOCK_RESTRICT_SELF, layer, 0)
        finally:
            os.close(layer)

    def _open(self, handled: int, found: int) -> int:
        ports = _BIND_TCP | _CONNECT_TCP if self.no_tcp and found >= 4 else 0
        scopes = _SCOPE_ABSTRACT | _SCOPE_SIGNAL if self.scoped and found >= 6 else 0
        # An older kernel takes the shorter structure it knows.
        size = 24 if found >= 6 else 16 if found >= 4 else 8
        rules = _Ruleset(handled, ports, scopes)
        return kernel.syscall(
            kernel.LANDLOCK_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0
        )


def _allow(layer: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        if rights:
            rule = _PathBeneath(rights, place)
            kernel.syscall(
                kernel.LANDLOCK_ADD_RULE, layer, _RULE_PATH_BENEATH, ctypes.byref(rule), 0
            )
    finally:
        os.close(place)


def is_below(path: Path, folders: Iterable[Path]) -> bool:
    """Whether `path` is one of `folders` or below one."""
    return any(path == folder or folder in path.parents for folder in folders)
