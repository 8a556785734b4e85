"""Feeds strange bytes to everything that reads them: `make fuzz`, `make fuzz ARGS="--seconds 60"`.

Each target runs in a process of its own, guided by coverage where atheris is installed, else by
chance. An input that breaks a target is kept in `tests/fuzz/corpus/<target>/`, and every later run
of the tests feeds it again. Inputs that reached code no other reached are kept from one run to the
next in `--grow FOLDER`; `--pack` writes the shortest of them into
`tests/fuzz/corpus/<target>.lines`, where every run begins.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None

# Only our own code is to guide it, in the process that is guided: it is slow.
if HAS_ATHERIS and any(argument.startswith("--one") for argument in sys.argv):
    import atheris

    with atheris.instrument_imports(include=["penstock", "targets"]):
        import seeds
        import targets
else:
    import seeds
    import targets

_LONGEST = 64 * 1024

#: Processor seconds that one input may take.
_SLOW_S = 2.0

#: Characters of a packed corpus, at most; the shortest inputs come first.
_PACKED = 24_000


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    """Return an input made of known ones, changed in a few places."""
    data = bytearray(rng.choice(pool))
    for _ in range(1 << rng.randrange(5)):
        at, size = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        what = rng.randrange(6)
        if what == 0:
            data[at : at + size] = rng.randbytes(size)
        elif what == 1:
            del data[at : at + size]
        elif what == 2:
            data[at:at] = rng.choice(targets.WORDS)
        elif what == 3:
            data[at:at] = data[max(0, at - size * 8) : at] * rng.randrange(1, 5)
        elif what == 4 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            other = rng.choice(pool)
            data[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data[:_LONGEST])


def keep(name: str, data: bytes) -> Path:
    """Write an input that broke a target where the tests find it."""
    folder = seeds.KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def by_chance(name: str, seconds: float, seed: int) -> int:
    rng, pool = random.Random(f"{name} {seed}"), list(seeds.seeds(name))
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        data, count = mutated(rng, pool), count + 1
        begun = time.monotonic()
        try:
            targets.feed(name, data)
        except Exception:
            traceback.print_exc()
            print(f"{name}: broken after {count:,} inputs by {keep(name, data)}")
            return 1
        if time.monotonic() - begun > 1:
            print(f"{name}: more than a second for {keep(name, data)}")
            return 1
        if count % 50 == 0 and len(pool) < 200:
            pool.append(data)
    print(f"{name}: {count:,} inputs, by chance, seed {seed}: no defect")
    return 0


def guided(name: str, seconds: float, grown: Path) -> int:
    """Feed inputs that atheris makes; it leaves the process itself."""
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        begun = time.process_time()
        try:
            targets.feed(name, data)
        except Exception:
            print(f"{name}: broken after {count:,} inputs by {keep(name, data)}", flush=True)
            raise
        if time.process_time() - begun > _SLOW_S:
            raise TimeoutError(f"more than {_SLOW_S} s for {keep(name, data)}")

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds.seeds(name)):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        _atheris(one, grown, Path(folder), f"-max_total_time={int(seconds)}")
    return 0


def _atheris(one: Callable[[bytes], None], into: Path, known: Path, *options: str) -> None:
    into.mkdir(parents=True, exist_ok=True)
    # A process that is held up is not slow: `one` looks at the processor time, this at the clock.
    usual = [f"-max_len={_LONGEST}", "-timeout=120", "-rss_limit_mb=4096", "-verbosity=0"]
    usual += ["-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/"]
    atheris.Setup([sys.argv[0], *options, *usual, str(into), str(known)], one)
    atheris.Fuzz()


def pack(name: str, folder: Path) -> None:
    """Write a target's corpus, one input a line in base64, the shortest first."""
    found = sorted((path.read_bytes() for path in folder.iterdir()), key=lambda d: (len(d), d))
    lines, room = [], _PACKED
    for data in found:
        line = base64.b64encode(data).decode()
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    seeds.packed(name).parent.mkdir(parents=True, exist_ok=True)
    seeds.packed(name).write_text("".join(f"{line}\n" for line in lines))
    print(f"{name}: {len(lines)} of {len(found)} inputs kept")


def run_one(given: argparse.Namespace) -> int:
    """Be the process of one target."""
    name = given.one
    if not HAS_ATHERIS:
        return by_chance(name, given.seconds, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        return guided(name, given.seconds, given.grow / name if given.grow else Path(folder))


def start(name: str, given: argparse.Namespace) -> tuple[int, list[str]]:
    """Run one target; return how it ended and what it said."""
    command = [sys.executable, __file__, f"--one={name}"]
    command += [f"--seconds={given.seconds}", f"--seed={given.seed}"]
    command += [f"--grow={given.grow}"] if given.grow else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, [x for x in done.stdout.splitlines() + done.stderr.splitlines() if x]


def fuzz(name: str, given: argparse.Namespace) -> bool:
    """Run one target and say how it went; return whether all is well."""
    code, lines = start(name, given)
    runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "")
    if code:
        print(f"{name}: DEFECT\n  " + "\n  ".join(lines[-25:]), flush=True)
    elif runs:
        print(f"{name}: {int(runs):,} inputs, guided: no defect", flush=True)
    else:
        print("\n".join(lines[-1:]), flush=True)
    return not code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--grow", type=Path, help="folder with a corpus that grows, by target")
    parser.add_argument("--pack", action="store_true", help="pack what has grown, and no more")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("target", nargs="*", choices=[[], *targets.TARGETS])
    given = parser.parse_args()
    if given.one:
        return run_one(given)
    names = given.target or list(targets.TARGETS)
    if given.pack:
        for name in names:
            pack(name, given.grow / name)
        return 0
    how = "Guided by coverage (atheris)" if HAS_ATHERIS else "By chance: there is no atheris"
    print(f"{how}.")
    with ThreadPoolExecutor(given.jobs) as threads:
        return 0 if all(list(threads.map(lambda name: fuzz(name, given), names))) else 1


if __name__ == "__main__":
    sys.exit(main())
