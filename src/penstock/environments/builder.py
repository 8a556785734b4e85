"""Builds environments: resolve, check, install, compile, put on the shelf.

Everything here blocks and runs in threads of `penstock.control.environments`. One build per key at
a time; a build that is not finished leaves nothing behind that could be taken for an environment.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.core.errors import EnvironmentFailed, InterpreterMismatch
from penstock.environments import bytecode, explain
from penstock.environments.describe import EnvironmentInfo, describe
from penstock.environments.lock import Lock, Wanted, resolve
from penstock.environments.pythons import Python
from penstock.environments.runtime import Runtime
from penstock.environments.shelf import Shelf, remove
from penstock.environments.try_imports import Guard, ImportFailure, try_imports
from penstock.environments.uv import Say, Uv, UvFailed

#: Distributions that hold NVIDIA's libraries: gigabytes, and of no use without a device.
_CUDA = re.compile(r"nvidia-.*|cuda-(toolkit|bindings|pathfinder)|triton")

#: How long compiled files are kept that no new environment needed, in seconds.
_BYTECODE_KEPT_S = 90 * 86400.0

#: Returns the path of an uploaded file by its SHA-256.
FindBlob = Callable[[str], Path]


class Ways(NamedTuple):
    """How environments are built.

    Attributes:
        link_mode: `auto`, `hardlink`, `clone` or `copy`: how files come out of the cache.
        cuda: Whether NVIDIA's libraries may be installed.
        compile_s: Seconds that compiling may take.
    """

    link_mode: str = "auto"
    cuda: bool = True
    compile_s: float = 600.0


class Builder:
    """Makes environments. Safe to use from several threads.

    Args:
        shelf: Where they are.
        uv: Resolves and installs.
        pythons: The interpreters there are, the server's own first.
        bytecodes: Where compiled files are kept.
        ways: How they are built.
        guard: Confines what runs in them.
    """

    def __init__(
        self,
        shelf: Shelf,
        uv: Uv,
        pythons: Sequence[Python],
        bytecodes: Path,
        ways: Ways,
        guard: Guard,
    ) -> None:
        self.shelf = shelf
        self.runtime = Runtime(shelf.runtime)
        self._uv = uv
        self._pythons = {python.interpreter.magic: python for python in pythons}
        self._bytecodes = bytecodes
        self._ways = ways
        self._guard = guard
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def lock(self, wanted: Wanted, find_blob: FindBlob, say: Say, *, refresh: bool = False) -> Lock:
        """Return the lock of what is wanted: the one from last time, unless `refresh`.

        Raises:
            EnvironmentFailed: It cannot be resolved; the message has the resolver's words.
        """
        python = self._python(wanted.magic)
        request = wanted.digest([python.interpreter.version, *self._uv.sources.fingerprint()])
        with self._locks[request]:
            known = None if refresh else self.shelf.answer_to(request)
            if known is not None:
                return known
            folders = self._wheel_folders(wanted.wheels, find_blob)
            try:
                lock = resolve(wanted, python, self._uv, say, folders, refresh=refresh)
            except UvFailed as error:
                raise _failed("resolved", error, python) from None
            self._check_cuda(lock)
            self.shelf.remember(lock)
            self.shelf.remember_answer(request, lock.key)
            return lock

    def build(self, lock: Lock, find_blob: FindBlob, say: Say) -> bool:
        """Have the environment of a lock; return whether it had to be built.

        Args:
            lock: What to build.
            find_blob: Finds uploaded wheels.
            say: Called with each line that is worth showing.

        Raises:
            EnvironmentFailed: It cannot be built; the message has uv's words.
            InterpreterMismatch: Its interpreter is not on this machine any more.
        """
        with self._locks[lock.key]:
            self.shelf.remember(lock)  # it may have been collected since it was resolved
            if self.shelf.is_built(lock.key):
                return False
            begun = time.perf_counter()
            python = self._python(lock.interpreter.magic, lock.interpreter.minor)
            folder = self.shelf.new_folder()
            try:
                self._install(
                    lock, python, folder, self._wheel_folders(lock.wheels, find_blob), say
                )
                compiled = bytecode.add_bytecode(
                    site_packages(folder), python, self._bytecodes, self._ways.compile_s
                )
                if compiled:
                    say(f"Compiled {compiled} packages")
                self.shelf.put(lock.key, folder, time.perf_counter() - begun)
            except UvFailed as error:
                raise _failed("built", error, python) from None
            except OSError as error:
                raise EnvironmentFailed(
                    f"The environment cannot be built: {error.strerror or error}.",
                    hint=explain.build_hint(str(error), python.interpreter.minor),
                ) from None
            finally:
                remove(folder)
            return True

    def _install(
        self, lock: Lock, python: Python, folder: Path, wheels: list[Path], say: Say
    ) -> None:
        made = folder / "environment.txt"
        self._uv.run(
            ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", str(python.path),
             str(folder)], say, resolves=False,
        )  # fmt: skip
        made.write_text(lock.text)
        command = ["pip", "install", "--python", str(folder / "bin" / "python"), "--no-deps",
                   "--require-hashes", "--link-mode", self._link_mode(),
                   "-r", str(made)]  # fmt: skip
        kept: list[str] = []
        try:  # what was installed before needs no network, and asking it takes longer than linking
            self._uv.run([*command, "--offline"], kept.append, folders=wheels)
        except UvFailed:
            self._uv.run(command, say, folders=wheels)
            return
        for line in kept:
            say(line)

    def _link_mode(self) -> str:
        # A clone costs nothing and shares nothing, but few disks have it: uv falls back to copying.
        return "hardlink" if self._ways.link_mode == "auto" else self._ways.link_mode

    def _wheel_folders(self, wheels: dict[str, str], find_blob: FindBlob) -> list[Path]:
        return [
            self.shelf.wheel_folder(name, sha256, find_blob(sha256))
            for name, sha256 in sorted(wheels.items())
        ]

    def _python(self, magic: str, minor: str = "") -> Python:
        python = self._pythons.get(magic)
        if python is None:
            have = ", ".join(sorted(p.interpreter.version for p in self._pythons.values()))
            raise InterpreterMismatch(
                f"The environment needs Python {minor or magic}, which this server does not have "
                f"(it has {have}).",
                hint="Install it on the server's machine, name it with PENSTOCK_PYTHONS, and "
                "start the server again.",
            )
        return python

    def _check_cuda(self, lock: Lock) -> None:
        heavy = [name for name in lock.packages if _CUDA.fullmatch(name)]
        if self._ways.cuda or not heavy:
            return
        raise EnvironmentFailed(
            f"The requirements bring NVIDIA's libraries ({', '.join(heavy[:4])}"
            f"{', …' if len(heavy) > 4 else ''}), gigabytes that this server, which has no such "
            "device, cannot use. Nothing was downloaded.",
            hint="Ask for a build without CUDA: xgboost-cpu in place of xgboost, tensorflow-cpu in "
            "place of tensorflow, a torch whose version ends in +cpu. The operator can offer such "
            "wheels with PENSTOCK_PACKAGE_FOLDERS, or allow CUDA with PENSTOCK_PACKAGE_CUDA=on.",
            packages=heavy,
        )

    # --- looking into one ---

    def info(self, lock: Lock) -> EnvironmentInfo:
        """Return what a built environment has."""
        stdlib = self._python(lock.interpreter.magic, lock.interpreter.minor).stdlib
        found = describe([str(site_packages(self.shelf.path(lock.key)))])
        modules = sorted({*found.modules, *stdlib, "penstock"})
        return EnvironmentInfo(
            penstock="", interpreter=lock.interpreter, packages=found.packages, modules=modules
        )

    def try_imports(self, lock: Lock, modules: Sequence[str]) -> ImportFailure | None:
        """Return the first of `modules` that cannot be imported there, or None."""
        folder = self.shelf.new_folder()
        try:
            python = self.shelf.python(lock.key)
            return try_imports(python, self.runtime.path(), modules, folder, self._guard)
        finally:  # by what it started, something may still change in there
            shutil.rmtree(folder, ignore_errors=True)

    def collect(self, used: Collection[str], grace_s: float, now: float) -> list[str]:
        """Delete what nothing has used for `grace_s` seconds; return the environments' keys."""
        bytecode.forget_unused(self._bytecodes, now - _BYTECODE_KEPT_S)
        return self.shelf.collect(used, grace_s, now)

    def stop(self) -> None:
        """End what is being built; nothing is built any more."""
        self._uv.stop()


def _failed(what: str, error: UvFailed, python: Python) -> EnvironmentFailed:
    text = explain.reason(error.lines)
    minor = python.interpreter.minor
    told = set(text.splitlines())
    return EnvironmentFailed(
        f"The environment for Python {minor} cannot be {what}. The resolver says:\n{text}",
        hint=explain.build_hint(text, minor),
        logs=[line for line in error.lines if line.strip() and line not in told],
    )


def site_packages(environment: Path) -> Path:
    """Return the folder of an environment's distributions."""
    found = sorted(environment.glob("lib/python3.*/site-packages"))
    return found[0] if found else environment / "lib"


def has_nvidia_device() -> bool:
    """Whether this machine has a device that CUDA could use."""
    return os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi") is not None
