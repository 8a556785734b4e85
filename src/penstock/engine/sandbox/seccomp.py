"""seccomp: which system calls a process may make. For good, and for its children.

A list of what nothing in a worker needs: tracing, mounts, namespaces, kernel modules, keys, clocks,
io_uring (which goes around the filter), the kernel's own interpreters. A refused call fails with
EPERM. Sockets are allowed by family.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from penstock.engine.sandbox import kernel
from penstock.engine.sandbox.kernel import Machine

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_AT_CALL, _AT_MACHINE, _AT_FIRST, _AT_SECOND = 0, 4, 16, 24
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

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


def apply(families: tuple[int, ...]) -> None:
    """Put the filter on every thread of this process.

    `no_new_privileges` must have been called.

    Args:
        families: Socket families that `socket()` may make; `socketpair` stays as it is.

    Raises:
        OSError: The kernel refuses.
    """
    machine = kernel.MACHINE
    if machine is None:
        raise OSError(errno.ENOSYS, "no table of system calls for this machine")
    code = program(machine, families)
    filter_ = _Program(len(code) // 8, code)
    number = machine.calls["seccomp"]
    kernel.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(filter_))


def program(machine: Machine, families: tuple[int, ...]) -> bytes:
    """Return the filter as the kernel reads it: instructions of 8 bytes."""
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
    for name in sorted(set(_REFUSED) & set(calls)):
        out += [_step(_EQUAL, calls[name], 0, 1), refuse]
    # Its flags lie in memory, where a filter cannot look; the C library then uses `clone`.
    out += [_step(_EQUAL, calls["clone3"], 0, 1), _step(_RETURN, _ERROR | errno.ENOSYS)]
    out += _when(calls["clone"], _AT_FIRST, [_step(_ANY_BIT, _NAMESPACES, 0, 1), refuse])
    # Threads of functions that wait take a working directory of their own by `unshare`.
    new = [_step(_ANY_BIT, _NAMESPACES | _NEW_TIME, 0, 1), refuse]
    out += _when(calls["unshare"], _AT_FIRST, new)
    typing = [s for request in _TYPING for s in (_step(_EQUAL, request, 0, 1), refuse)]
    out += _when(calls["ioctl"], _AT_SECOND, typing)
    out += _when(calls["socket"], _AT_FIRST, _only(families, refuse))
    return b"".join([*out, _step(_RETURN, _ALLOW)])


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
