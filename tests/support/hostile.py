"""What a hostile function tries from inside a worker. Travels in bundles: standard library only."""

from __future__ import annotations

import ctypes
import glob
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: A cheap number of each call that is refused, for x86-64 and AArch64.
_CALLS = {
    "x86_64": {"ptrace": 101, "mount": 165, "unshare": 272, "bpf": 321, "keyctl": 250,
               "io_uring_setup": 425, "userfaultfd": 323, "process_vm_readv": 310,
               "perf_event_open": 298, "setns": 308, "open_by_handle_at": 304},
    "aarch64": {"ptrace": 117, "mount": 40, "unshare": 97, "bpf": 280, "keyctl": 219,
                "io_uring_setup": 425, "userfaultfd": 282, "process_vm_readv": 270,
                "perf_event_open": 241, "setns": 268, "open_by_handle_at": 265},
}  # fmt: skip


def attack(targets: dict[str, Any]) -> dict[str, str]:
    """Try everything; return "open", or how it was stopped, by name."""
    attempts: dict[str, Callable[[], Any]] = {
        "read the records": lambda: read(targets["records"]),
        "read another project's file": lambda: read(targets["blob"]),
        "list the blobs": lambda: os.listdir(os.path.dirname(targets["blob"])),
        "read the passwords": lambda: read("/etc/shadow"),
        "write beside the data": lambda: write(targets["outside"]),
        "write to /tmp": lambda: write("/tmp/penstock-hostile"),
        "write to /dev/shm": lambda: write("/dev/shm/penstock-hostile"),
        "write to its site-packages": lambda: write(f"{targets['packages']}/hostile.py"),
        "remove the records": lambda: os.rename(targets["records"], targets["outside"] + ".db"),
        "connect to a unix socket": lambda: connect_unix(targets["unix"]),
        "connect to an abstract socket": lambda: connect_unix("\0" + targets["abstract"]),
        "connect by TCP": lambda: socket.create_connection(tuple(targets["tcp"]), 2).close(),
        "send by UDP": lambda: send_udp(tuple(targets["udp"])),
        "signal the server": lambda: os.kill(targets["server"], 0),
        "read the server's environment": lambda: find_secret(targets["secret"]),
        "read the server's memory": lambda: read(f"/proc/{targets['server']}/mem"),
        "read the server's descriptors": lambda: follow(f"/proc/{targets['server']}/fd"),
        "become root": lambda: os.setuid(0) if os.getuid() else os.chown("/usr", 1, 1),
        "start a program that reads": lambda: run_cat(targets["records"]),
    }
    calls = _CALLS.get(os.uname().machine, {})
    attempts.update({f"call {n}": lambda k=k: refused_call(k) for n, k in calls.items()})
    return {name: outcome(attempt) for name, attempt in attempts.items()}


def outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except OSError as error:
        return f"stopped ({error.strerror or error})"
    except Exception as error:
        return f"stopped ({error})"
    return "open"


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"hostile")


def follow(folder: str) -> list[str]:
    return [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]


def connect_unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(address)


def send_udp(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hostile", address)


def find_secret(secret: str) -> None:
    """Look into the environment of every process there is."""
    for path in glob.glob("/proc/[0-9]*/environ"):
        with suppress(OSError), open(path, "rb") as file:
            if secret.encode() in file.read():
                return
    raise PermissionError(1, "it is nowhere to be read")


def run_cat(path: str) -> None:
    done = subprocess.run(["/bin/cat", path], capture_output=True, check=False)
    if done.returncode:
        raise PermissionError(1, done.stderr.decode().strip()[-60:])


def refused_call(number: int) -> None:
    """Make a system call with senseless arguments; anything but EPERM means it was let through."""
    libc = ctypes.CDLL(None, use_errno=True)
    bad = [ctypes.c_long(-1)] * 5
    if libc.syscall(ctypes.c_long(number), *bad) < 0 and ctypes.get_errno() == 1:
        raise PermissionError(1, os.strerror(1))


def packages() -> str:
    """Return the folder that this process imports libraries from."""
    return next(p for p in reversed(sys.path) if p.endswith(("site-packages", "dist-packages")))
