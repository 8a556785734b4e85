"""From requirements to a lock: every distribution with its version and the hashes of its files.

`Wanted` is what a deployment asks for, `Lock` what it got; its `key` is the address of the
environment. Two deployments whose requirements resolve to the same files share an environment.
Called by `penstock.environments.builder`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
import uuid
from pathlib import Path

import msgspec

from penstock.core.interpreter import Interpreter
from penstock.environments import runtime
from penstock.environments.distributions import canonical
from penstock.environments.pythons import Python
from penstock.environments.requirements import names_of
from penstock.environments.uv import Say, Uv

#: Changed when environments are built differently, so that old ones are not taken for new ones.
LAYOUT = 1

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(==\s*(?P<version>\S+)|@)")


class Wanted(msgspec.Struct, frozen=True):
    """What a deployment asks of its environment.

    Attributes:
        magic: Bytecode number of the interpreter; the builder has one with it.
        requirements: What the deployer wrote.
        libraries: Distributions that its functions and models use besides, any version.
        preferred: Versions to take where the requirements leave a choice, by distribution.
        wheels: Wheels that were uploaded: SHA-256 by file name.
    """

    magic: str
    requirements: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    preferred: dict[str, str] = {}
    wheels: dict[str, str] = {}

    def lines(self) -> list[str]:
        """Return everything to be resolved together, as requirements."""
        named = names_of(self.requirements)
        besides = [name for name in self.libraries if canonical(name) not in named]
        return [*self.requirements, *besides, *runtime.REQUIREMENTS]

    def digest(self, sources: list[str]) -> str:
        """Return what two requests share exactly when they ask for the same, from the same."""
        plain = [LAYOUT, msgspec.to_builtins(self), runtime.REQUIREMENTS, sources]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


class Lock(msgspec.Struct, frozen=True):
    """A resolved environment, as it is kept on disk.

    Attributes:
        key: Its address: a hash of interpreter, platform and `text`.
        interpreter: The Python it is for.
        tag: That Python's cache tag.
        text: The lock in the form of a requirements file, with hashes.
        packages: Version by distribution.
        requirements: What was asked for by whoever asked first.
        wheels: Uploaded wheels that it needs: SHA-256 by file name.
        created_at: When it was resolved, in seconds since the epoch.
    """

    key: str
    interpreter: Interpreter
    tag: str
    text: str
    packages: dict[str, str]
    requirements: tuple[str, ...]
    wheels: dict[str, str] = {}
    created_at: float = 0.0


def resolve(
    wanted: Wanted, python: Python, uv: Uv, say: Say, folders: list[Path], *, refresh: bool = False
) -> Lock:
    """Return the lock of what is wanted.

    Args:
        wanted: What to resolve.
        python: The interpreter to resolve for.
        uv: Does it.
        say: Called with each line that uv prints.
        folders: Folders with uploaded wheels.
        refresh: Look again at what the indexes have now, for an environment of its own.

    Raises:
        UvFailed: There is no solution, or the index cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-lock-") as name:
        folder = Path(name)
        asked, out, excluded = (folder / n for n in ("requirements.in", "lock.txt", "excluded.txt"))
        asked.write_text("\n".join(wanted.lines()) + "\n")
        excluded.write_text("\n".join(runtime.EXCLUDED) + "\n")
        if wanted.preferred:  # uv keeps the versions of an earlier lock where it can
            pins = (f"{name}=={version}" for name, version in sorted(wanted.preferred.items()))
            out.write_text("\n".join(pins) + "\n")
        command = ["pip", "compile", str(asked), "--output-file", str(out), "--python",
                   str(python.path), "--generate-hashes", "--no-annotate", "--no-header",
                   "--no-emit-index-url", "--excludes", str(excluded)]  # fmt: skip
        command += ["--refresh"] if refresh else []
        uv.run(command, _Lockless(say), folders=folders)
        # A build that is forced has an address of its own: what runs keeps its files.
        return _read(out.read_text(), wanted, python, uuid.uuid4().hex if refresh else "")


class _Lockless:
    """Hands on what uv says, without the lock that it prints too."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def __call__(self, line: str) -> None:
        if not _PIN.match(line) and not line.startswith(("    --hash=", "#")):
            self._say(line)


def _read(text: str, wanted: Wanted, python: Python, salt: str) -> Lock:
    here = python.interpreter
    address = [LAYOUT, here.implementation, here.magic, here.platform, text, salt]
    return Lock(
        key=hashlib.sha256(json.dumps(address).encode()).hexdigest()[:32],
        interpreter=here,
        tag=python.tag,
        text=text,
        packages=packages_of(text),
        requirements=wanted.requirements,
        wheels=wanted.wheels,
        created_at=time.time(),
    )


def packages_of(text: str) -> dict[str, str]:
    """Return the versions in a lock by canonical name; an address stands for itself."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _PIN.match(line)
        if match:
            rest = line.partition("@")[2].strip().rstrip("\\").strip()
            found[canonical(match["name"])] = match["version"] or rest
    return dict(sorted(found.items()))
