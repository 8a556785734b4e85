"""Deploy the photo flow, send held-out pieces as files, from Python and with plain HTTP."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import flow as photos
import httpx2
import train
from own_server import own_server

from penstock import deploy
from penstock.client.config import resolve


def main() -> None:
    """Run the whole demonstration."""
    with own_server() as (url, folder):
        print("2. Training a network on pieces of two photos ...")
        made = train.main(folder / "models")
        files, labels = made["files"], made["labels"]

        print("3. Deploying the flow")
        endpoint = deploy(photos.flow(folder / "models"), "photos")

        print("4. Calling it with files")
        for found in endpoint.predict(files=[files[0], files[-1]]):
            print(f"   {found}")
        found = [answer["label"] for answer in endpoint.predict(files=files)]
        right = sum(a == b for a, b in zip(found, labels, strict=True))
        print(f"   accuracy on {len(files)} held-out pieces: {right / len(files):.1%}")

        print("5. The same from any language: a multipart form")
        response = httpx2.post(
            endpoint.url,
            headers={"Authorization": resolve().api_key},
            files=[("files", (files[0].name, files[0].read_bytes(), "image/jpeg"))],
        )
        print(f"   {response.status_code} {response.json()['result']}")
        print(f"   Dashboard: {url}/")


if __name__ == "__main__":
    main()
