"""Feeds strange bytes to everything that reads them: `make fuzz`, `make fuzz ARGS="--seconds 60"`.

Each target runs in a process of its own, guided by coverage where atheris is installed, else by
chance. An input that breaks a target is kept in `tests/fuzz/corpus/<target>/`, and every later run
of the tests feeds it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import seeds
import targets

_LONGEST = 64 * 1024


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


def guided(name: str, seconds: float) -> int:
    """Feed inputs that atheris makes; it leaves the process itself."""
    import atheris

    atheris.instrument_all()
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        try:
            targets.feed(name, data)
        except Exception:
            print(f"{name}: broken after {count:,} inputs by {keep(name, data)}", flush=True)
            raise

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds.seeds(name)):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        options = [
            f"-max_total_time={int(seconds)}",
            f"-max_len={_LONGEST}",
            "-timeout=2",
            "-rss_limit_mb=4096",
        ]
        atheris.Setup(
            [
                sys.argv[0],
                *options,
                "-verbosity=0",
                "-print_final_stats=1",
                f"-artifact_prefix={folder}/",
                folder,
            ],
            one,
        )
        atheris.Fuzz()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("target", nargs="*", choices=[[], *targets.TARGETS])
    given = parser.parse_args()
    has_atheris = importlib.util.find_spec("atheris") is not None
    if given.one:
        return (
            guided(given.one, given.seconds)
            if has_atheris
            else by_chance(given.one, given.seconds, given.seed)
        )
    print(
        f"{'Guided by coverage (atheris)' if has_atheris else 'By chance: atheris is not installed'}."
    )
    failed = []
    for name in given.target or targets.TARGETS:
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            f"--seconds={given.seconds}",
            f"--seed={given.seed}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if line]
        runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "")
        if done.returncode:
            failed.append(name)
            print(f"{name}: DEFECT\n  " + "\n  ".join(lines[-25:]), flush=True)
        elif runs:
            print(f"{name}: {int(runs):,} inputs, guided: no defect", flush=True)
        else:
            print("\n".join(lines[-1:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
