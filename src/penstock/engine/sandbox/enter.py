"""Becomes a program of a user's environment, confined before that program's first instruction.

An interpreter runs code of the packages beside it before it runs anything else: `.pth` files,
`sitecustomize`, libraries in place of those that a worker imports. So what runs in an environment
that users chose is started by the server's own interpreter, which confines itself and then becomes
it; what the kernel has taken away stays taken away. `command` is for those who start such a
program, `main` runs in the child.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import msgspec

from penstock.codec.sandbox import PROCESS, Sandbox
from penstock.engine.sandbox import confine

#: The server's own modules, wherever they lie, and nothing else.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from penstock.engine.sandbox import enter; enter.main()"
)

#: What a shell says of a program that it may not run.
_REFUSED = 126


class Entry(msgspec.Struct, frozen=True):
    """What the child is told: how to confine itself, and what it may read and run besides."""

    sandbox: Sandbox
    programs: tuple[str, ...]


def command(sandbox: Sandbox | None, programs: Sequence[str], program: Sequence[str]) -> list[str]:
    """Return the command that confines itself and then becomes `program`.

    Args:
        sandbox: How; None, or the tier process: not at all.
        programs: Files and folders that it may read and run besides the system's.
        program: The executable, by its path, and its arguments.
    """
    if sandbox is None or sandbox.tier == PROCESS or sys.platform != "linux":
        return list(program)
    path = json.dumps([folder for folder in sys.path if folder])
    entry = msgspec.json.encode(Entry(sandbox, tuple(programs))).decode()
    return [sys.executable, "-I", "-c", _BOOT, path, entry, *program]


def main() -> None:
    """Confine this process and become what the arguments say."""
    entry = msgspec.json.decode(sys.argv[1], type=Entry)
    missing = confine.confine_program(entry.sandbox, entry.programs)
    if missing and entry.sandbox.required:
        sys.stderr.write(f"It cannot be confined as required: {missing[0]}\n")
        sys.exit(_REFUSED)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted
