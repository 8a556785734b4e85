"""Keeps a showcase running until Ctrl-C: `python -m showcase` in `docs/`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from showcase import models
from showcase.served import lively


def main(folder: Path, port: int) -> None:
    """Start, deploy, call."""
    made = models.train(folder / "models")
    with lively(folder, made, port) as (url, key):
        print(f"{url}  sign in with {key}", flush=True)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="penstock-showcase-") as made_here:
        main(Path(made_here), int(sys.argv[1]) if len(sys.argv) > 1 else 0)
