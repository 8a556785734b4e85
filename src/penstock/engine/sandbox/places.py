"""What a confined process may read and use besides its own folder: its interpreter, the system.

Every process finds this out for itself, before any user code runs: the interpreter of a user's
environment lies elsewhere than the server's.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.engine.sandbox.landlock import DEVICE, READ, RUN, WRITE

#: Programs and libraries of the system.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_SYSTEM_MORE = ("/opt/rocm", "/opt/nvidia", "/opt/intel", "/run/opengl-driver")

#: What libraries look up; never the whole of /etc, which holds the secrets of other programs.
_CONFIGURATION = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "fonts", "gai.conf", "group",
    "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload",
    "localtime", "magic", "mime.types", "nsswitch.conf", "nvidia", "os-release", "passwd", "pki",
    "protocols", "resolv.conf", "services", "ssl", "timezone", "OpenCL", "vulkan",
)  # fmt: skip
_NAME_SERVICE = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf")
_STATE = ("/proc", "/sys/devices", "/sys/class", "/sys/bus", "/sys/module", "/sys/fs/cgroup")

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_ACCELERATORS = ("nvidia", "dri", "kfd", "accel")
_USUAL = (
    "accel", "dri", "kfd", "nvidia-caps", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools",
    "nvidiactl", *(f"nvidia{number}" for number in range(32)),
)  # fmt: skip


@functools.lru_cache(maxsize=1)  # those who fork ask before, and their children need not
def interpreter() -> tuple[str, ...]:
    """Return files and folders of this interpreter and of what it imports from."""
    lib_folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *lib_folders]
    real = {os.path.realpath(path) for path in found if path}
    real.add(os.path.dirname(os.path.realpath(sys.executable)))
    return tuple(sorted(path for path in real if path != "/" and os.path.exists(path)))


def readable() -> Iterator[tuple[str, int]]:
    """Yield Landlock rights by path for everything that is not the process's own."""
    for path in (*_SYSTEM, *_SYSTEM_MORE, *interpreter()):
        yield path, RUN
    for path in (*(f"/etc/{name}" for name in _CONFIGURATION), *_NAME_SERVICE, *_STATE):
        yield path, READ
    yield from devices()


@functools.lru_cache(maxsize=1)  # a process that is confined cannot look again
def devices() -> tuple[tuple[str, int], ...]:
    """Return rights by path for the harmless devices and for accelerators."""
    harmless = ((path, DEVICE) for path in _DEVICES)
    return (*harmless, *((f"/dev/{name}", DEVICE | READ) for name in _accelerators()))


def _accelerators() -> list[str]:
    try:
        return [name for name in sorted(os.listdir("/dev")) if name.startswith(_ACCELERATORS)]
    except PermissionError:  # confined before this program began: what has a name can be asked for
        return [name for name in _USUAL if os.path.exists(f"/dev/{name}")]


def own(folder: str) -> tuple[str, int]:
    """Return the rights to a folder of the process's own."""
    return folder, READ | WRITE


def closed_to_others(path: str) -> str:
    """Return the first part of a path that users without rights cannot go through; else ""."""
    target = Path(os.path.realpath(path))
    for part in (*reversed(target.parents), target):
        try:
            mode = part.stat().st_mode
        except OSError:
            return str(part)
        needed = stat.S_IXOTH
        if stat.S_ISREG(mode):
            needed = stat.S_IROTH
        if mode & needed != needed:
            return str(part)
    return ""
