"""Linux system calls that Python has no function for. Called by the other modules of the folder.

Numbers are those of x86-64 and AArch64; on another machine `MACHINE` is None and nothing that needs
a number is there.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

#: What a process needs that gives its children users of their own.
CHANGE_USER = (6, 7)

#: Landlock's calls have the same numbers everywhere.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

_CAPABILITY_VERSION_3 = 0x20080522


class Machine(NamedTuple):
    """A kind of processor. `audit` is how seccomp names it; `calls` has numbers by name."""

    audit: int
    calls: dict[str, int]


@functools.lru_cache(maxsize=1)  # making one takes a quarter of a millisecond
def libc() -> Any:
    """Return the C library; errors are told by `ctypes.get_errno`."""
    found = ctypes.CDLL(None, use_errno=True)
    found.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return found


def syscall(number: int, *arguments: Any) -> int:
    """Make a system call; arguments are ctypes values, or integers as C longs.

    Raises:
        OSError: It failed.
    """
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    found: int = libc().syscall(ctypes.c_long(number), *given)
    if found < 0:
        raise_errno()
    return found


def prctl(option: int, *arguments: int) -> None:
    """Make a `prctl` call.

    Raises:
        OSError: It failed.
    """
    if libc().prctl(option, *arguments, *(0,) * (4 - len(arguments))) < 0:
        raise_errno()


def raise_errno() -> None:
    """Raise the error of the last call."""
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


def no_new_privileges() -> None:
    """Let no program that is started from now on have more rights than this process."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def be_dumpable() -> None:
    """Let this process read its own entries in `/proc`; a change of user forbids it."""
    prctl(_PR_SET_DUMPABLE, 1)


def drop_capabilities(keep: Iterable[int] = ()) -> None:
    """Give up every capability but those in `keep`, for good and for programs started from here."""
    kept = frozenset(keep)
    with suppress(OSError):  # after the last one
        for number in range(64):
            if number not in kept:
                prctl(_PR_CAPBSET_DROP, number)
    with suppress(OSError):  # kernels without ambient capabilities have none to clear
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bits = sum(1 << number for number in kept)  # all of them are among the first 32
    sets = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
    if libc().capset(header, sets) < 0:
        raise_errno()


def _machine() -> Machine | None:
    if sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    return {"x86_64": Machine(0xC000003E, _X86_64), "aarch64": Machine(0xC00000B7, _AARCH64)}.get(
        platform.machine()
    )


#: Calls from 424 on have one number on every machine.
_COMMON = {
    "pidfd_getfd": 438, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "clone3": 435, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "fchmodat2": 452,
    "setxattrat": 463, "removexattrat": 466,
}  # fmt: skip

_X86_64 = {
    **_COMMON,
    "chmod": 90, "fchmod": 91, "fchmodat": 268,
    "shmget": 29, "shmat": 30, "shmctl": 31, "socketpair": 53, "semget": 64, "semop": 65,
    "semctl": 66, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "truncate": 76,
    "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144, "setxattr": 188,
    "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
    "fremovexattr": 199, "sched_setaffinity": 203, "semtimedop": 220, "mq_open": 240,
    "mq_unlink": 241, "ioprio_set": 251, "prlimit64": 302, "sched_setattr": 314,
    "ioctl": 16, "socket": 41, "clone": 56, "ptrace": 101, "syslog": 103, "personality": 135,
    "vhangup": 153, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "create_module": 174, "init_module": 175, "delete_module": 176, "quotactl": 179,
    "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246,
    "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272,
    "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
    "bpf": 321, "userfaultfd": 323, "seccomp": 317,
}  # fmt: skip

_AARCH64 = {
    **_COMMON,
    "fchmod": 52, "fchmodat": 53,
    "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
    "fremovexattr": 16, "ioprio_set": 30, "truncate": 45, "sched_setparam": 118,
    "sched_setscheduler": 119, "sched_setaffinity": 122, "setpriority": 140, "mq_open": 180,
    "mq_unlink": 181, "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189, "semget": 190,
    "semctl": 191, "semtimedop": 192, "semop": 193, "shmget": 194, "shmctl": 195, "shmat": 196,
    "socketpair": 199, "prlimit64": 261, "sched_setattr": 274,
    "lookup_dcookie": 18, "ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41,
    "nfsservctl": 42, "chroot": 51, "vhangup": 58, "quotactl": 60, "acct": 89, "personality": 92,
    "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
    "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161,
    "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "socket": 198, "add_key": 217,
    "request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225,
    "migrate_pages": 238, "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262,
    "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268,
    "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
    "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294, "seccomp": 277,
}  # fmt: skip

MACHINE = _machine()

if sys.platform == "linux":
    libc()  # before the fork, so that no worker has to make its own
