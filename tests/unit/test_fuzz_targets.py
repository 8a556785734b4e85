"""Everything that reads bytes of strangers takes them or refuses them: a little of `make fuzz`."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "fuzz"

#: Changed inputs for each target.
INPUTS = 1500


def load(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


targets, seeds = load("targets"), load("seeds")
fuzz_run = load("run")


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_it_was_made_for_is_taken_and_the_rest_is_refused_politely(name: str) -> None:
    pool = list(seeds.seeds(name))
    for data in (*pool, b"", b"\x00" * 64, bytes(range(256))):
        targets.feed(name, data)
    rng = random.Random(name)
    for _ in range(INPUTS):
        targets.feed(name, fuzz_run.mutated(rng, pool))


def test_every_good_input_is_really_taken() -> None:
    for name in targets.TARGETS:
        if name != "webhook_url":  # some of its seeds are meant to be refused
            targets.TARGETS[name](next(seeds.seeds(name)))
