"""Deploy the wine flow, ask for held-out wines, change a model and roll it back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import flow as wine
import train
from own_server import own_server

from penstock import PenstockError, deploy


def main() -> None:
    """Run the whole demonstration."""
    with own_server() as (url, folder):
        print("2. Fitting a scaler and a classifier on scikit-learn's wine data ...")
        made = train.main(folder / "models")
        rows, growers = made["rows"], made["growers"]

        print("3. Deploying the flow; it has to answer two wines before it may serve")
        endpoint = deploy(wine.flow(folder / "models"), "wine", example=rows[:2])

        print("4. Calling it")
        for row, found in zip(rows[:3], endpoint.predict(rows[:3]), strict=True):
            print(f"   alcohol {row['alcohol']:.1f} %, …: {json.dumps(found)}")
        answers = endpoint.predict(rows)
        right = sum(a["grape"] == wine.GROWERS[k] for a, k in zip(answers, growers, strict=True))
        print(f"   accuracy on {len(rows)} held-out wines: {right / len(rows):.1%}")

        print("5. A wine without its alcohol")
        try:
            endpoint.predict([{k: v for k, v in rows[0].items() if k != "alcohol"}])
        except PenstockError as error:
            print(f"   {error.code}: {error.message}")

        print("6. A second version, and back to the first")
        endpoint = deploy(wine.flow(folder / "models"), "wine", quiet=True)
        print(f"   version {endpoint.version} serves; back to version {endpoint.rollback()}")
        print(f"   the same answers: {endpoint.predict(rows) == answers}")
        print(f"   Dashboard: {url}/")


if __name__ == "__main__":
    main()
