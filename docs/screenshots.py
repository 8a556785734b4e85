"""Takes pictures of every page of a showcase server: light, dark, and at the width of a phone.

The server, its models, its calls and their times are real; the hour and the week before are drawn
from these calls (`showcase/history.py`).

    make screenshots                       # into docs/images/
    make screenshots ARGS="--minutes 15"   # with more traffic behind it

Needs Chromium. The pictures keep their 256 most frequent colours; the others, edges of
letters mostly, become the nearest of these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "support")]

from browser import browsing, chromium, sign_in  # noqa: E402
from showcase import models  # noqa: E402
from showcase.served import lively  # noqa: E402

WIDE, PHONE = (1440, 900), (390, 844)

#: Name and address of each page; `run` and `failed` are filled in.
PAGES = {
    "overview": "?range=1h",
    "deployment": "/d/digits?range=1h",
    "runs": "/d/digits/runs",
    "run": "/runs/{run}",
    "run-failed": "/runs/{failed}",
    "predictions": "/d/iris-classes/monitoring",
    "versions": "/d/digits/versions",
    "code": "/d/digits/code",
    "builds": "/d/digits/builds",
    "playground": "/d/digits/playground",
    "deployment-settings": "/d/digits/settings",
    "start": "/start",
    "keys": "/keys",
    "secrets": "/secrets",
    "files": "/files",
    "webhooks": "/webhooks",
    "settings": "/settings",
}

#: Pages of which the documents show pictures, by how they are taken.
KEPT = {
    "light": ("overview", "deployment", "run", "run-failed", "code", "predictions"),
    "dark": ("overview",),
    "phone": ("overview", "run-failed"),
}

#: Milliseconds that a page may take: a busy machine takes its time.
PATIENCE = 180_000


def main() -> None:
    """Start a showcase, let it run for some minutes, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.5, help="traffic before the pictures")
    parser.add_argument("--to", type=Path, default=HERE / "images", help="folder of the pictures")
    parser.add_argument("--all", action="store_true", help="every page, not only those kept here")
    parser.add_argument("--server", help="a running showcase to look at, as URL,KEY")
    asked = parser.parse_args()
    if chromium() is None:
        sys.exit("There is no Chromium here: sudo apt-get install chromium")
    if asked.server:
        url, _, key = asked.server.partition(",")
        take(url, key, asked.to, everything=asked.all)
        return
    with tempfile.TemporaryDirectory(prefix="penstock-showcase-") as made_here:
        folder = Path(made_here)
        made = models.train(folder / "models")
        with lively(folder, made) as (url, key):
            time.sleep(asked.minutes * 60)
            take(url, key, asked.to, everything=asked.all)


def take(url: str, key: str, folder: Path, *, everything: bool) -> None:
    """Take the pictures of a server into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with browsing() as browser:
        for how, scheme, size in (
            ("light", "light", WIDE),
            ("dark", "dark", WIDE),
            ("phone", "light", PHONE),
            ("phone-dark", "dark", PHONE),
        ):
            wanted = [*PAGES, "sign-in"] if everything else KEPT.get(how, ())
            if not wanted:
                continue
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
            )
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            if "sign-in" in wanted:
                page.goto(url)
                _shoot(page, folder / f"sign-in-{how}.png")
            sign_in(page, url, key)
            runs = _runs(page, url)
            for name, path in PAGES.items():
                if name in wanted:
                    page.goto(f"{url}/p/default{path.format(**runs)}")
                    _prepare(page, name)
                    _shoot(page, folder / f"{name}-{how}.png")
            context.close()


def _runs(page: Any, url: str) -> dict[str, str]:
    found = {}
    for name, path in (("run", "/d/digits/runs"), ("failed", "/runs?state=failed")):
        page.goto(f"{url}/p/default{path}")
        rows = page.locator("table.runs tbody th a")
        address = str(rows.nth(min(4, rows.count() - 1)).get_attribute("href"))
        found[name] = address.rpartition("/")[2]
    return found


def _prepare(page: Any, name: str) -> None:
    """Bring a page into the state worth showing."""
    if name == "deployment":
        page.wait_for_selector("[data-drawn]")
        box = page.locator("#time-chart .u-over").bounding_box()
        if page.viewport_size["width"] > 1000:
            page.mouse.move(box["x"] + box["width"] * 0.72, box["y"] + box["height"] * 0.3)
    if name == "playground":
        pictures = [
            {"name": f"{name}.png", "mimeType": "image/png", "buffer": _digit(digit)}
            for name, digit in (("a", 3), ("b", 7))
        ]
        page.set_input_files("#files", pictures)
        page.click("#call button[type=submit]")
        page.wait_for_selector("#answer-text")
    page.wait_for_timeout(500)


def _digit(digit: int) -> bytes:
    import io

    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = digits.images[list(digits.target).index(digit)]
    out = io.BytesIO()
    Image.fromarray((grey * 15.9).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def _shoot(page: Any, path: Path) -> None:
    from PIL import Image

    page.screenshot(path=path, full_page=True)
    with Image.open(path) as taken:
        small = _fewer_colours(taken.convert("RGB"))
    small.save(path, optimize=True)
    print(f"{path.name}  {path.stat().st_size // 1024} KiB")


def _fewer_colours(whole: Any) -> Any:
    """Return a picture with its 256 most frequent colours, as they are, and the nearest of them."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(whole).reshape(-1, 3)
    codes = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    found, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.int64)
    kept = colours[np.argsort(-counts)[:256]]
    nearest = np.array([np.abs(kept - colour).sum(axis=1).argmin() for colour in colours], np.uint8)
    small = Image.fromarray(nearest[where].reshape(whole.height, whole.width), "P")
    small.putpalette(kept.astype(np.uint8).tobytes())
    return small


if __name__ == "__main__":
    main()
