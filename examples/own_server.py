"""Starts a server for a demonstration, in a temporary folder; every `demo.py` uses it.

A program of yours needs none of this: it calls `penstock.deploy` with the address and the key of
the server that you run, from its environment or from `penstock login`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from penstock import start


@contextlib.contextmanager
def own_server(**settings: str) -> Iterator[tuple[str, Path]]:
    """Run a server for the length of a `with` block.

    Args:
        settings: Settings of the server by name, as `webhook_allow="127.0.0.1"`.

    Yields:
        Its address, and a folder for the models and pictures of the demonstration.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-demo-") as made:
        folder = Path(made)
        os.environ["PENSTOCK_PROFILE"] = str(folder / "profile.json")
        os.environ.update({f"PENSTOCK_{name.upper()}": value for name, value in settings.items()})
        print("1. Starting a server of its own ...")
        with start(data=folder / "server", port=0) as server:
            print(f"   {server.url}")
            yield server.url, folder
