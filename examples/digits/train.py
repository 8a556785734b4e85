"""Train the two models of the digits flow on scikit-learn's digits; write held-out ones as PNG.

Takes some seconds on one core. Stage 1 is a small convolutional network whose last hidden layer
gives 32 features; stage 2 is a gradient-boosted classifier on those features.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xgboost
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 7


class Features(torch.nn.Module):
    """8 x 8 digits in [0, 1], shape (n, 1, 8, 8), to 32 features, shape (n, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(32 * 4 * 4, 32),
            torch.nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of `x`."""
        return self.layers(x)  # type: ignore[no-any-return]


def train_features(x: torch.Tensor, y: torch.Tensor, epochs: int = 20) -> Features:
    """Train the network with a throw-away classification head and return it without the head."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # threads of so small a network mostly wait for one another
    features, head = Features(), torch.nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(features(x[rows])), y[rows]).backward()
            optimizer.step()
    return features.eval()


def main(folder: Path) -> dict[str, Any]:
    """Write `features.pt`, `xgb.json` and `digits/*.png` under `folder`.

    Returns:
        `models`: the two paths; `files`: paths of the held-out digits; `labels`: what they show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    pixels = (digits.images / 16.0 * 255).astype(np.uint8)
    train, test, y_train, y_test = train_test_split(
        pixels, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    x = torch.from_numpy(train.astype(np.float32) / 255.0)[:, None]
    features = train_features(x, torch.from_numpy(y_train))
    with torch.inference_mode():
        hidden = features(x).numpy()
    booster = xgboost.XGBClassifier(n_estimators=60, max_depth=4, n_jobs=1, random_state=SEED)
    booster.fit(hidden, y_train)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is in maintenance mode; files stay loadable
        torch.jit.script(features).save(str(folder / "features.pt"))
    booster.save_model(folder / "xgb.json")
    return {
        "models": [folder / "features.pt", folder / "xgb.json"],
        "files": write_pictures(folder / "digits", test),
        "labels": y_test.tolist(),
    }


def write_pictures(folder: Path, pictures: np.ndarray[Any, Any]) -> list[Path]:
    """Write each picture as a PNG file and return the paths in order."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"digit-{i:03d}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


if __name__ == "__main__":
    made = main(Path(sys.argv[1] if len(sys.argv) > 1 else "digits-models"))
    print(*made["models"], f"{len(made['files'])} pictures", sep="\n")
