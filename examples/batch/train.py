"""Fit a gradient-boosted regressor on scikit-learn's diabetes data and write it as LightGBM's text.

The data are 442 patients, ten measurements each, and how far the illness went in a year.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

SEED = 7


def main(folder: Path) -> dict[str, Any]:
    """Write `progress.txt` under `folder`.

    Returns:
        `rows`: held-out patients; `truths`: what became of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    x, y = load_diabetes(return_X_y=True)
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=SEED)
    model = lightgbm.LGBMRegressor(
        n_estimators=60,
        learning_rate=0.05,
        max_depth=3,
        n_jobs=1,
        random_state=SEED,
        verbose=-1,
    ).fit(train, y_train)
    model.booster_.save_model(folder / "progress.txt")
    return {"rows": test.tolist(), "truths": y_test.tolist()}
