"""What a hostile function tries from inside a worker. Travels in bundles: standard library only."""

from __future__ import annotations

import ctypes
import glob
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: A cheap number of each call that is refused, for x86-64 and AArch64.
_CALLS = {
    "x86_64": {"ptrace": 101, "mount": 165, "unshare": 272, "bpf": 321, "keyctl": 250,
               "io_uring_setup": 425, "userfaultfd": 323, "process_vm_readv": 310,
               "process_vm_writev": 311, "perf_event_open": 298, "setns": 308,
               "open_by_handle_at": 304, "init_module": 175, "finit_module": 313,
               "kexec_load": 246, "pivot_root": 155, "umount2": 166, "move_mount": 429,
               "getpid of x32": 0x40000000 + 39},
    "aarch64": {"ptrace": 117, "mount": 40, "unshare": 97, "bpf": 280, "keyctl": 219,
                "io_uring_setup": 425, "userfaultfd": 282, "process_vm_readv": 270,
                "process_vm_writev": 271, "perf_event_open": 241, "setns": 268,
                "open_by_handle_at": 265, "init_module": 105, "finit_module": 273,
                "kexec_load": 104, "pivot_root": 41, "umount2": 39, "move_mount": 429},
}  # fmt: skip


def attack(targets: dict[str, Any]) -> dict[str, str]:
    """Try everything; return "open", or how it was stopped, by name."""
    attempts: dict[str, Callable[[], Any]] = {
        "read the records": lambda: read(targets["records"]),
        "read another project's file": lambda: read(targets["blob"]),
        "list the blobs": lambda: list_others(targets["blob"]),
        "read the passwords": lambda: read("/etc/shadow"),
        "write beside the data": lambda: write(targets["outside"]),
        "write to /tmp": lambda: write("/tmp/penstock-hostile"),
        "write to /dev/shm": lambda: write("/dev/shm/penstock-hostile"),
        "write to its site-packages": lambda: write(f"{targets['packages']}/hostile.py"),
        "change the mode of the records": lambda: change_mode(targets["records"]),
        "remove the records": lambda: os.rename(targets["records"], targets["outside"] + ".db"),
        "change a file of its version": lambda: change_file(targets["own"]),
        "connect to a unix socket": lambda: connect_unix(targets["unix"]),
        "connect to an abstract socket": lambda: connect_unix("\0" + targets["abstract"]),
        "connect by TCP": lambda: socket.create_connection(tuple(targets["tcp"]), 2).close(),
        "send by UDP": lambda: send_udp(tuple(targets["udp"])),
        "signal the server": lambda: os.kill(targets["server"], 0),
        "read the server's environment": lambda: find_secret(targets["secret"]),
        "read the server's memory": lambda: read(f"/proc/{targets['server']}/mem"),
        "read the server's descriptors": lambda: follow(f"/proc/{targets['server']}/fd"),
        "limit the server": lambda: limit(targets["server"]),
        "slow the server down": lambda: os.setpriority(os.PRIO_PROCESS, targets["server"], 19),
        "slow all of its user down": lambda: slow_user(),
        "pin the server to a processor": lambda: os.sched_setaffinity(targets["server"], {0}),
        "give the records' rights away": lambda: give_rights(targets["records"]),
        "use memory of its user": lambda: shared_memory(),
        "send a datagram to a unix socket": lambda: send_unix(targets["datagrams"]),
        "make a namespace of users": lambda: new_namespace(),
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


def list_others(path: str) -> None:
    folder, name = os.path.split(path)
    if name not in os.listdir(folder):  # its own file may happen to have the same first letters
        raise FileNotFoundError("only its own are there")


def write(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"hostile")


def change_mode(path: str) -> None:
    """Change a mode to another as safe; the call may say that it did and do nothing."""
    wanted = 0o700 if os.stat(path).st_mode & 0o777 == 0o600 else 0o600
    os.chmod(path, wanted)
    if os.stat(path).st_mode & 0o777 != wanted:
        raise PermissionError(1, "it stays as it is")


def change_file(path: str) -> None:
    """Open a file that may be read for writing, in every way there is; none changes it."""
    place = os.path.join(os.environ.get("HOME", "/tmp"), f"hostile-{os.getpid()}")
    reader = os.open(path, os.O_RDONLY)
    ways: tuple[Callable[[], int], ...] = (
        lambda: os.open(path, os.O_WRONLY),
        lambda: os.open(f"/proc/self/fd/{reader}", os.O_RDWR),
        lambda: os.link(path, place) or os.open(place, os.O_RDWR),
        lambda: os.rename(path, place) or os.open(place, os.O_RDWR),
    )
    for way in ways:
        with suppress(OSError):
            os.close(way())
            return
    raise PermissionError(1, "it stays as it is")


def follow(folder: str) -> list[str]:
    return [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]


def connect_unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(address)


def send_unix(address: str) -> None:
    """Point one of a pair of sockets, which everybody may make, at somebody else's."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"hostile", address)


def limit(process: int) -> None:
    """Give a process its own limit of open files once more: nothing changes if it is let."""
    resource.prlimit(
        process, resource.RLIMIT_NOFILE, resource.prlimit(process, resource.RLIMIT_NOFILE)
    )


def new_namespace() -> None:
    """Make a namespace in a process of its own, as `unshare -r` does: there one is root."""
    pid = os.fork()
    if not pid:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(ctypes.get_errno() if libc.unshare(0x10000000) else 0)  # CLONE_NEWUSER
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(abs(code), os.strerror(abs(code)))


def slow_user() -> None:
    os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_USER, 0))


def give_rights(path: str) -> None:
    """Write the list of rights that the file has already: owner, group and others."""
    mode = os.stat(path).st_mode
    entries = ((1, mode >> 6 & 7), (4, mode >> 3 & 7), (32, mode & 7))
    rights = b"".join(struct.pack("<HHI", tag, bits, 0xFFFFFFFF) for tag, bits in entries)
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + rights)


def shared_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.shmget(0, ctypes.c_size_t(4096), 0o1600)  # 0: a new one
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    libc.shmctl(found, 0, None)  # 0: remove it


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
