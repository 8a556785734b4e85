"""Start a server, train and deploy the digits flow, call it, print what came back, stop.

`make demo` runs this. Everything it makes goes into a temporary folder.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import flow as digits
import train
from own_server import own_server

from penstock import deploy

FIRST = 6
MOST_FILES = 200


def accuracy(endpoint: Any, files: list[Path], labels: list[int]) -> float:
    """Send the held-out pictures, some hundred at a time, and return the share named rightly."""
    right = 0
    for at in range(0, len(files), MOST_FILES):
        batch = files[at : at + MOST_FILES]
        named = endpoint.predict([file.stem for file in batch], files=batch)
        right += sum(named[f.stem] == y for f, y in zip(batch, labels[at:], strict=False))
    return right / len(files)


def main() -> None:
    """Run the whole demonstration."""
    with own_server() as (url, folder):
        print("2. Training on scikit-learn's digits ...")
        made = train.main(folder / "models")
        files, labels = made["files"], made["labels"]

        print("3. Deploying the flow: torch features, then XGBoost")
        began = time.perf_counter()
        endpoint = deploy(digits.flow(folder / "models"), "digits")
        print(f"   deployed in {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        endpoint = deploy(digits.flow(folder / "models"), "digits", quiet=True)
        print(
            f"   and again, as version {endpoint.version}, in {time.perf_counter() - began:.2f} s"
        )

        print("4. Calling it with pictures as files and their names as data")
        names = [file.stem for file in files[:FIRST]]
        answer = endpoint.call(names, files=files[:FIRST])
        print("   answer:", json.dumps(answer.result))
        print("   really:", json.dumps(dict(zip(names, labels[:FIRST], strict=True))))
        print("   Server-Timing:", answer.server_timing)
        print(
            f"   accuracy on {len(files)} held-out digits: {accuracy(endpoint, files, labels):.1%}"
        )
        print(f"5. Dashboard: {url}/  (while the server runs; `make serve` keeps one)")


if __name__ == "__main__":
    main()
