"""seccomp: which system calls a process may make. For good, and for its children.

A list of what nothing in a worker needs: tracing, mounts, namespaces, kernel modules, keys, clocks,
io_uring (which goes around the filter), the kernel's own interpreters. A refused call fails with
EPERM. Sockets are allowed by family.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import struct
from collections.abc import Mapping

from penstock.engine.sandbox import kernel, landlock
from penstock.engine.sandbox.kernel import Machine

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_AT_CALL, _AT_MACHINE, _AT_FIRST, _AT_SECOND = 0, 4, 16, 24
_SET_MODE_FILTER = 1
#: All threads; and no slower processor for it: old kernels forbid filtered processes to speculate.
_FLAGS = 1 | 4

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

#: System calls of the x32 kind, which would go around a list of numbers.
_X32 = 0x40000000
#: Flags that make namespaces: mount, cgroup, uts, ipc, user, pid, net; of `unshare` also time.
_NAMESPACES, _NEW_TIME = 0x7E020000, 0x80
#: Terminal requests that type on behalf of somebody else: TIOCSTI and TIOCLINUX.
_TYPING = (0x5412, 0x541C)

_REFUSED = (
    "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime",
    "create_module", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
    "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie",
    "memfd_secret", "migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages",
    "name_to_handle_at", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open",
    "personality", "pidfd_getfd", "pivot_root", "process_madvise", "process_mrelease",
    "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "quotactl_fd", "reboot",
    "request_key", "setdomainname", "sethostname", "setns", "settimeofday", "swapoff", "swapon",
    "syslog", "umount2", "userfaultfd", "vhangup",
)  # fmt: skip

#: Change the mode of a file, which Landlock has no say in.
_MODES = ("chmod", "fchmod", "fchmodat", "fchmodat2")

#: What else Landlock has no say in, and what a user may do to all that is the same user's: lists of
#: access rights (which are modes, too), and memory and queues that have no place among the files.
_OF_THE_USER = (
    "fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr", "mq_open", "mq_unlink", "msgctl",
    "msgget", "msgrcv", "msgsnd", "removexattr", "removexattrat", "semctl", "semget", "semop",
    "semtimedop", "setxattr", "setxattrat", "shmat", "shmctl", "shmget",
)  # fmt: skip

#: Change limits and shares of a process of the same user: their first argument, 0 for the caller.
_OF_A_PROCESS = (
    "prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
)  # fmt: skip

#: The same with what kind of thing is meant before it; here the kind that is all of a user's.
_OF_A_KIND = {"ioprio_set": 3, "setpriority": 2}

#: Kinds of sockets, and the bits that tell them.
_STREAM, _PACKETS, _KINDS = 1, 5, 0xF


def available() -> bool:
    """Whether this kernel and machine have what `apply` needs."""
    if kernel.MACHINE is None:
        return False
    try:  # a null filter: EFAULT where filters exist, EINVAL or ENOSYS where not
        kernel.syscall(kernel.MACHINE.calls["seccomp"], _SET_MODE_FILTER, 0, ctypes.c_void_p())
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


def apply(families: tuple[int, ...], *, shared_user: bool = False) -> None:
    """Put the filter on every thread of this process.

    `no_new_privileges` must have been called.

    Args:
        families: Socket families that `socket()` may make. `socketpair()` always makes pairs that
            stay pairs.
        shared_user: The process's user owns more than its own files and processes. Calls that
            change the mode of a file do nothing, and say that they did; what else its user could do
            to the others is refused.

    Raises:
        OSError: The kernel refuses.
    """
    number, code = prepared(families, shared_user)
    filter_ = _Program(len(code) // 8, code)
    kernel.syscall(number, _SET_MODE_FILTER, _FLAGS, ctypes.byref(filter_))


@functools.lru_cache(maxsize=8)
def prepared(families: tuple[int, ...], shared_user: bool) -> tuple[int, bytes]:
    """Return the number of the call that takes a filter, and the filter; see `apply`.

    Raises:
        OSError: There is no table of system calls for this machine.
    """
    machine = kernel.MACHINE
    if machine is None:
        raise OSError(errno.ENOSYS, "no table of system calls for this machine")
    # Landlock has a say in it from version 3 on.
    also = ("truncate",) if shared_user and landlock.version() < 3 else ()
    return machine.calls["seccomp"], program(machine, families, shared_user, also)


def program(
    machine: Machine,
    families: tuple[int, ...],
    shared_user: bool = False,
    also: tuple[str, ...] = (),
) -> bytes:
    """Return the filter as the kernel reads it: instructions of 8 bytes. `also` is refused too."""
    calls = machine.calls
    refuse = _step(_RETURN, _ERROR | errno.EPERM)
    out = [
        _step(_LOAD, _AT_MACHINE),
        _step(_EQUAL, machine.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_CALL),
        _step(_AT_LEAST, _X32, 0, 1),
        refuse,
    ]
    for name in sorted({*_REFUSED, *also} & set(calls)):
        out += [_step(_EQUAL, calls[name], 0, 1), refuse]
    if shared_user:
        out += _keep_to_itself(calls, refuse)
    # Its flags lie in memory, where a filter cannot look; the C library then uses `clone`.
    out += [_step(_EQUAL, calls["clone3"], 0, 1), _step(_RETURN, _ERROR | errno.ENOSYS)]
    out += _when(calls["clone"], _AT_FIRST, [_step(_ANY_BIT, _NAMESPACES, 0, 1), refuse])
    # Threads of functions that wait take a working directory of their own by `unshare`.
    new = [_step(_ANY_BIT, _NAMESPACES | _NEW_TIME, 0, 1), refuse]
    out += _when(calls["unshare"], _AT_FIRST, new)
    typing = [s for request in _TYPING for s in (_step(_EQUAL, request, 0, 1), refuse)]
    out += _when(calls["ioctl"], _AT_SECOND, typing)
    out += _when(calls["socket"], _AT_FIRST, _only(families, refuse))
    if AF_UNIX not in families:  # one of a pair for datagrams can be pointed at any other socket
        kind = [_step(_AND, _KINDS), *_only((_STREAM, _PACKETS), refuse)]
        out += _when(calls["socketpair"], _AT_SECOND, kind)
    return b"".join([*out, _step(_RETURN, _ALLOW)])


def _keep_to_itself(calls: Mapping[str, int], refuse: bytes) -> list[bytes]:
    """Return instructions that keep a process from what else belongs to its user."""
    out = []
    for name in _MODES:
        if name in calls:
            out += [_step(_EQUAL, calls[name], 0, 1), _step(_RETURN, _ERROR)]  # error 0: done
    for name in _OF_THE_USER:
        out += [_step(_EQUAL, calls[name], 0, 1), refuse]
    itself = [_step(_EQUAL, 0, 1, 0), refuse]
    for name in _OF_A_PROCESS:
        out += _when(calls[name], _AT_FIRST, itself)
    for name, kind in _OF_A_KIND.items():
        not_all = [_step(_LOAD, _AT_FIRST), _step(_EQUAL, kind, 0, 1), refuse]
        out += _when(calls[name], _AT_SECOND, [*itself, *not_all])
    return out


def _only(families: tuple[int, ...], refuse: bytes) -> list[bytes]:
    """Return instructions that allow these families and refuse every other."""
    tests = [_step(_EQUAL, f, len(families) - i, 0) for i, f in enumerate(families)]
    return [*tests, refuse] if families else [refuse]


def _when(call: int, argument: int, then: list[bytes]) -> list[bytes]:
    """Return instructions that look at an argument of one call, and allow it at their end."""
    body = [_step(_LOAD, argument), *then, _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, call, 0, len(body)), *body]


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)
