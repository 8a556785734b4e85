"""Deploy the places flow and ask it about sentences."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import flow as places
import train
from own_server import own_server

from penstock import deploy


def main() -> None:
    """Run the whole demonstration."""
    with own_server() as (url, folder):
        print("2. Training a recogniser of cities and sums of money ...")
        made = train.main(folder / "pipeline")
        texts = made["texts"]
        print(
            f"   held-out cities, names and forms: precision {made['precision']:.1%}, ",
            end="",
        )
        print(f"recall {made['recall']:.1%}")

        print("3. Deploying the pipeline's folder, and a stage of plain Python after it")
        endpoint = deploy(places.flow(folder / "pipeline"), "places", example=texts[:1])

        print(f"4. Calling it with {len(texts)} sentences")
        for text, found in zip(texts, endpoint.predict(texts), strict=True):
            if found:
                print(f"   {text}")
            for entity in found:
                when = f", UTC{entity['utc_offset_h']:+g}" if entity["zone"] else ""
                print(f"      {entity['label']} {entity['text']}{when}")
        print(f"   Dashboard: {url}/")


if __name__ == "__main__":
    main()
