"""Train a small convolutional network to tell scikit-learn's two photos apart by pieces of them.

The photos are a Chinese temple and a dahlia, 427 x 640. Pieces of the left part train the network;
those of the right part, which it never sees, are written as JPEG files to ask about.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

SEED = 7
SIDE = 96
NET_SIDE = 32
LEFT = 400
LABELS = ["temple", "flower"]


class Photos(torch.nn.Module):
    """Pictures in [0, 1], shape (n, 3, 32, 32), to class probabilities, shape (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 12, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(12, 24, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(24 * 16, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of `x`."""
        return self.layers(x).softmax(dim=1)  # type: ignore[no-any-return]


def pieces(photo: Image.Image, left: int, right: int, count: int, rng: Any) -> list[Image.Image]:
    """Return `count` squares of the photo, at random between the columns `left` and `right`."""
    found = []
    for _ in range(count):
        x, y = rng.integers(left, right - SIDE), rng.integers(0, photo.height - SIDE)
        found.append(photo.crop((x, y, x + SIDE, y + SIDE)))
    return found


def as_input(pictures: list[Image.Image]) -> torch.Tensor:
    """Return the pictures as the network wants them."""
    small = [p.resize((NET_SIDE, NET_SIDE), Image.Resampling.BILINEAR) for p in pictures]
    stacked = np.stack([np.asarray(p, np.float32) / 255 for p in small])
    return torch.from_numpy(stacked.transpose(0, 3, 1, 2).copy())


def fit(x: torch.Tensor, y: torch.Tensor, steps: int = 150) -> Photos:
    """Train the network on pieces and their labels."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # threads of so small a network mostly wait for one another
    net = Photos()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(net(x[rows]).clamp_min(1e-6).log(), y[rows]).backward()
        optimizer.step()
    return net.eval()


def main(folder: Path) -> dict[str, Any]:
    """Write `photos.pt` and `pieces/*.jpg` under `folder`.

    Returns:
        `files`: paths of the held-out pieces; `labels`: what they show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    photos = [Image.fromarray(array) for array in load_sample_images().images]
    seen = [p for photo in photos for p in pieces(photo, 0, LEFT, 200, rng)]
    net = fit(as_input(seen), torch.arange(2).repeat_interleave(200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is in maintenance mode; files stay loadable
        torch.jit.script(net).save(str(folder / "photos.pt"))

    (folder / "pieces").mkdir(exist_ok=True)
    files, labels = [], []
    for label, photo in zip(LABELS, photos, strict=True):
        for at, piece in enumerate(pieces(photo, LEFT, photo.width, 30, rng)):
            # The name does not give the picture away.
            files.append(folder / "pieces" / f"{len(files):02d}-{at}.jpg")
            piece.save(files[-1], quality=90)
            labels.append(label)
    return {"files": files, "labels": labels}
