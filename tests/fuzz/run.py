"""Feeds strange bytes to everything that reads them: `make fuzz`, `make fuzz ARGS="--seconds 60"`.

Each target runs in a process of its own, guided by coverage where atheris is installed, else by
chance. Seconds are those of the processor, so a busy machine only makes it last longer; targets
take turns. An input that breaks one is kept in `tests/fuzz/corpus/<target>/`, and every later run
of the tests feeds it again. With `--grow FOLDER`, inputs that reached code no other reached are
kept from one run to the next, with what each target has had: a stopped run goes on from there.
`--pack` writes the shortest into `tests/fuzz/corpus/<target>.lines`, where every run begins.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import random
import signal
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

#: How a target's process says what it has had; the process ends with it.
_HAD = "had"

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


class TooSlow(BaseException):
    """An input took more of the processor than it may; no target can take this for a refusal."""


def _too_slow(*_: object) -> None:
    raise TooSlow(f"more than {_SLOW_S} s of the processor for one input")


def feed(name: str, data: bytes) -> None:
    """Give a target an input, and keep the input if that breaks it."""
    signal.setitimer(signal.ITIMER_PROF, _SLOW_S)
    try:
        targets.feed(name, data)
    except (Exception, TooSlow):
        print(f"{name}: broken by {keep(name, data)}", flush=True)
        raise


def _had(seconds: float, inputs: int) -> None:
    print(f"{_HAD} {seconds:.1f} {inputs}", flush=True)


def by_chance(name: str, seconds: float, seed: str) -> int:
    rng, pool = random.Random(f"{name} {seed}"), list(seeds.seeds(name))
    began, count = time.process_time(), 0
    while time.process_time() - began < seconds:
        data, count = mutated(rng, pool), count + 1
        try:
            feed(name, data)
        except (Exception, TooSlow):
            traceback.print_exc()
            return 1
        if count % 50 == 0 and len(pool) < 200:
            pool.append(data)
    _had(time.process_time() - began, count)
    return 0


def guided(name: str, seconds: float, grown: Path) -> int:
    """Feed inputs that atheris makes, until the time is up; it leaves the process itself."""
    began, count = time.process_time(), 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        feed(name, data)
        if count % 64 == 0 and time.process_time() - began > seconds:
            _had(time.process_time() - began, count)
            os._exit(0)  # its finds are on disk already

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds.seeds(name)):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        _atheris(one, grown, Path(folder))
    return 0


def _atheris(one: Callable[[bytes], None], into: Path, known: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    # A process held up is not slow: `feed` looks at the time of the processor, this at the clock.
    usual = [f"-max_len={_LONGEST}", "-timeout=3600", "-rss_limit_mb=4096", "-verbosity=0"]
    usual += [f"-artifact_prefix={tempfile.gettempdir()}/"]
    atheris.Setup([sys.argv[0], *usual, str(into), str(known)], one)
    atheris.Fuzz()


def pack(name: str, folder: Path) -> None:
    """Write a target's corpus, one input a line in base64, the shortest first.

    What it had before stays in it, as far as there is room: only finds are in `folder`.
    """
    grown = {path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else set()
    found = sorted(grown | set(seeds.read_packed(name)), key=lambda d: (len(d), d))
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
    signal.signal(signal.SIGPROF, _too_slow)
    if not HAS_ATHERIS:
        return by_chance(name, given.seconds, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        return guided(name, given.seconds, given.grow / name if given.grow else Path(folder))


class Tally:
    """What one target has had: seconds of the processor, inputs, and whether it broke."""

    def __init__(self, name: str, grown: Path | None) -> None:
        self.name, self.path = name, grown / f"{name}.json" if grown else None
        self.seconds, self.inputs, self.broken = 0.0, 0, False
        if self.path and self.path.exists():
            self.seconds, self.inputs = json.loads(self.path.read_text())

    def add(self, lines: list[str]) -> None:
        for line in lines:
            if line.startswith(f"{_HAD} "):
                _, seconds, inputs = line.split()
                self.seconds += float(seconds)
                self.inputs += int(inputs)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps([self.seconds, self.inputs]))

    def __str__(self) -> str:
        end = "DEFECT" if self.broken else "no defect"
        return (
            f"{self.name}: {self.inputs:,} inputs in {self.seconds:.0f} s of the processor: {end}"
        )


def turn(tally: Tally, seconds: float, given: argparse.Namespace) -> None:
    """Run one target for some seconds and note what it had."""
    command = [sys.executable, __file__, f"--one={tally.name}", f"--seconds={seconds}"]
    command += [f"--seed={given.seed}.{tally.inputs}"]
    command += [f"--grow={given.grow}"] if given.grow else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [x for x in done.stdout.splitlines() + done.stderr.splitlines() if x]
    tally.add(lines)
    if done.returncode:
        tally.broken = True
        print(f"{tally.name}: DEFECT\n  " + "\n  ".join(lines[-25:]), flush=True)


def fuzz(tally: Tally, given: argparse.Namespace) -> None:
    """Give one target its next turn."""
    left = given.seconds - tally.seconds
    if left < 1 or tally.broken:
        return
    turn(tally, min(left, given.turn), given)
    if tally.broken or given.seconds - tally.seconds < 1:
        print(tally, flush=True)


def fuzz_all(names: list[str], given: argparse.Namespace) -> bool:
    """Fuzz targets in turns until each has had its time; return whether all is well."""
    tallies = [Tally(name, given.grow) for name in names]
    with ThreadPoolExecutor(given.jobs) as threads:
        while any(given.seconds - x.seconds >= 1 and not x.broken for x in tallies):
            list(threads.map(lambda tally: fuzz(tally, given), tallies))
    return not any(tally.broken for tally in tallies)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="of the processor, for each target"
    )
    parser.add_argument(
        "--turn", type=float, default=60.0, help="seconds until the next target's turn"
    )
    parser.add_argument("--seed", default="0", help="for inputs made by chance")
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
    return 0 if fuzz_all(names, given) else 1


if __name__ == "__main__":
    sys.exit(main())
