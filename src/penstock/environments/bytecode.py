"""Compiled files of installed distributions, made once and shared between environments.

uv links a distribution's files into an environment but does not keep them compiled, and compiling
takes far longer than linking. So what a distribution compiles to is kept, named by the hash of its
`RECORD`, and linked into the next environment that has it. The files are of the "unchecked hash"
kind (PEP 552): nothing looks at the sources again, which are read-only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from importlib.util import cache_from_source
from pathlib import Path, PurePosixPath

from penstock.environments.pythons import Python

#: Folders of a distribution that serving never imports.
_SKIPPED = frozenset({"test", "tests", "testing_data", "_tests"})

#: Serving goes on while we compile.
_POLITELY = ("nice", "-n", "10") if shutil.which("nice") else ()

#: A distribution with fewer lines of code is compiled in no time; more processes would not help.
_FILES_PER_PROCESS = 200


def add_bytecode(site: Path, python: Python, store: Path, timeout_s: float) -> int:
    """Give every distribution in `site` its compiled files; return how many were compiled now.

    Args:
        site: The `site-packages` folder of a new environment.
        python: Its interpreter.
        store: Where compiled files are kept; on the same disk.
        timeout_s: Seconds that compiling may take; what is not done then stays uncompiled.
    """
    kept = store / python.tag
    kept.mkdir(parents=True, exist_ok=True)
    missing: dict[Path, list[str]] = {}
    for info in site.glob("*.dist-info"):
        home = kept / _identity(info)
        if home.is_dir():
            os.utime(home)
            _link_all(home, site)
        else:
            missing[home] = list(_sources(info))
    _compile(site, python, [name for names in missing.values() for name in names], timeout_s)
    for home, names in missing.items():
        _keep(home, site, python, names)
    return len(missing)


def _identity(info: Path) -> str:
    try:
        record = (info / "RECORD").read_bytes()
    except OSError:
        record = b""
    return f"{info.name.removesuffix('.dist-info')}-{hashlib.sha256(record).hexdigest()[:24]}"


def _sources(info: Path) -> Iterator[str]:
    """Yield the distribution's modules, as paths below `site-packages`."""
    try:
        record = (info / "RECORD").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for line in record.splitlines():
        name = line.rsplit(",", 2)[0].strip('"')
        path = PurePosixPath(name)
        outside = path.is_absolute() or ".." in path.parts
        if path.suffix == ".py" and not outside and not _SKIPPED & set(path.parts[:-1]):
            yield name


def _compile(site: Path, python: Python, names: list[str], timeout_s: float) -> None:
    """Compile the files; those with errors of syntax, meant for other Pythons, stay as they are."""
    if not names:
        return
    count = max(1, min(os.cpu_count() or 1, len(names) // _FILES_PER_PROCESS))
    command = [*_POLITELY, str(python.path), "-I", "-m", "compileall", "-q", "-q", "-i", "-",
               "--invalidation-mode", "unchecked-hash"]  # fmt: skip
    running = []
    for start in range(count):
        with tempfile.TemporaryFile("w+") as listed:
            listed.write("\n".join(str(site / name) for name in names[start::count]) + "\n")
            listed.seek(0)
            running.append(
                subprocess.Popen(
                    command, stdin=listed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
    for process in running:
        _end(process, timeout_s)


def _end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _keep(home: Path, site: Path, python: Python, names: Iterable[str]) -> None:
    """Put the compiled files of one distribution into the store, whole or not at all."""
    made = home.with_name(f".{uuid.uuid4().hex}")
    made.mkdir()
    for name in names:
        compiled = compiled_name(name, python.tag)
        if (site / compiled).exists():
            (made / compiled).parent.mkdir(parents=True, exist_ok=True)
            link(str(site / compiled), str(made / compiled))
    try:
        made.rename(home)
    except OSError:  # another server was quicker
        shutil.rmtree(made, ignore_errors=True)


def compiled_name(name: str, tag: str) -> str:
    """Return where Python with the cache tag `tag` looks for a module's compiled file."""
    own = PurePosixPath(cache_from_source(name))
    stem = PurePosixPath(name).stem
    return str(own.with_name(f"{stem}.{tag}.pyc"))


def _link_all(home: Path, site: Path) -> None:
    for folder, _inner, files in os.walk(home):
        if not files:
            continue
        target = str(site / Path(folder).relative_to(home))
        os.makedirs(target, exist_ok=True)
        for name in files:
            link(f"{folder}/{name}", f"{target}/{name}")


def link(source: str, target: str) -> None:
    """Make `target` the same file as `source`, or a copy where the disk cannot."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        shutil.copyfile(source, target)


def forget_unused(store: Path, older_than: float) -> int:
    """Delete what was used for no environment since `older_than` (seconds since the epoch)."""
    gone = 0
    for home in store.glob("*/*"):
        if home.stat().st_mtime < older_than:
            shutil.rmtree(home, ignore_errors=True)
            gone += 1
    return gone
