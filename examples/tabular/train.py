"""Fit a scaler and a classifier on scikit-learn's wine data: 178 wines of three growers.

Each wine has 13 measurements of very different size, so they are scaled first. Both models are
written as `.skops` files, which run no code when they are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skops.io
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SEED = 7


def main(folder: Path) -> dict[str, Any]:
    """Write `scaler.skops` and `grower.skops` under `folder`.

    Returns:
        `columns`: names of the measurements, in the order of training; `rows`: held-out wines as
        objects by these names; `growers`: who grew them, 0 to 2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wine = load_wine()
    train, test, y_train, y_test = train_test_split(
        wine.data, wine.target, test_size=0.4, random_state=SEED, stratify=wine.target
    )
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(max_iter=500).fit(scaler.transform(train), y_train)
    skops.io.dump(scaler, folder / "scaler.skops")
    skops.io.dump(model, folder / "grower.skops")
    return {
        "columns": list(wine.feature_names),
        "rows": [dict(zip(wine.feature_names, row, strict=True)) for row in test.tolist()],
        "growers": y_test.tolist(),
    }
