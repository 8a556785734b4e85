"""Building the environment of numpy, pandas and pillow: cold, warm, again, on this machine.

python benchmarks/environments.py

Everything is downloaded once, into a temporary folder; under a minute with a quick index.
"""

import statistics
import tempfile
import time
from pathlib import Path

from penstock.environments.builder import Builder, Ways
from penstock.environments.lock import Lock, Wanted
from penstock.environments.pythons import own
from penstock.environments.shelf import Shelf
from penstock.environments.sources import Sources, with_pip_config
from penstock.environments.uv import Uv
from penstock.server.settings import Settings
from penstock.wiring.sandbox_parts import import_guard

WANTED = Wanted(own().interpreter.magic, ("numpy", "pandas", "pillow"))

#: Times that a warm build is repeated.
TIMES = 9


def builder(folder: Path, cache: Path) -> Builder:
    """Return a builder with an empty shelf and a cache of its own or shared."""
    uv = Uv(with_pip_config(Sources()), cache / "uv", 600.0)
    shelf, guard = Shelf(folder).prepare(), import_guard(Settings())
    return Builder(shelf, uv, [own()], cache / "compiled", Ways(), guard)


def made(parts: Builder) -> tuple[Lock, float, float]:
    """Return a lock, the seconds it took, and the seconds the environment took."""
    begun = time.perf_counter()
    lock = parts.lock(WANTED, Path, str)
    locked = time.perf_counter()
    parts.build(lock, Path, str)
    return lock, locked - begun, time.perf_counter() - locked


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="penstock-environments-") as name:
        folder = Path(name)
        _, resolve_s, build_s = made(builder(folder / "cold", folder / "cache"))
        print(
            f"cold: resolved in {resolve_s:.2f} s, downloaded, linked and compiled {build_s:.2f} s"
        )
        warm = [made(builder(folder / f"warm{n}", folder / "cache")) for n in range(TIMES)]
        resolved = statistics.median(seconds for _, seconds, _ in warm)
        built = statistics.median(seconds for _, _, seconds in warm)
        own_bytes = sum(
            file.lstat().st_size
            for file in (folder / "warm0" / warm[0][0].key).rglob("*")
            if file.is_file() and not file.is_symlink() and file.lstat().st_nlink == 1
        )
        print(f"warm: resolved in {resolved:.2f} s, built in {built:.2f} s (medians of {TIMES}), "
              f"{own_bytes / 2**20:.1f} MiB of its own")  # fmt: skip
        again = builder(folder / "warm0", folder / "cache")
        _, resolve_s, build_s = made(again)
        print(f"again: {1000 * (resolve_s + build_s):.1f} ms, nothing resolved or built")


if __name__ == "__main__":
    main()
