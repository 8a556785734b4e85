"""Trains the models of the showcase: some seconds on one core."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

SEED = 7


def train(folder: Path) -> dict[str, Any]:
    """Write all model files below `folder`; return their paths and some real inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "digits"))
    import train as digits

    made: dict[str, Any] = {"digits": digits.main(folder)}
    made |= _churn(folder)
    iris, diabetes, cancer = load_iris(), load_diabetes(), load_breast_cancer()
    made |= _iris(folder, iris.data, iris.target)
    booster = xgboost.XGBRegressor(n_estimators=40, max_depth=3, n_jobs=1)
    booster.fit(diabetes.data, diabetes.target)
    booster.save_model(folder / "demand.json")
    made["demand"], made["demand_rows"] = folder / "demand.json", diabetes.data.tolist()
    made["scaler"] = _dump(StandardScaler().fit(cancer.data), folder / "scaler.joblib")
    scaled = StandardScaler().fit_transform(cancer.data)
    made["anomaly"] = _dump(
        IsolationForest(random_state=SEED).fit(scaled), folder / "forest.joblib"
    )
    made["ranker"] = _dump(
        LogisticRegression(max_iter=500).fit(scaled, cancer.target), folder / "rank.joblib"
    )
    made["cancer_rows"] = cancer.data.tolist()
    return made


def _iris(folder: Path, data: Any, target: Any) -> dict[str, Any]:
    """A forest of two thirds of the flowers; the rest are measured with a rule that reads long."""
    known = np.arange(len(data)) % 3 > 0
    forest = RandomForestClassifier(40, random_state=SEED).fit(data[known], target[known])
    later = data[~known] + [0, 0.6, 0, 0]
    return {
        "iris": _dump(forest, folder / "iris.joblib"),
        "iris_rows": data[known].tolist(),
        "iris_answers": forest.predict_proba(data[known]).round(4).tolist(),
        "iris_later": list(zip(later.round(2).tolist(), target[~known].tolist(), strict=True)),
    }


def _churn(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    rows = np.column_stack(
        [rng.integers(1, 72, 800), rng.uniform(10, 90, 800), rng.poisson(1.2, 800)]
    )
    rows = np.column_stack([rows, rows[:, 0] * rows[:, 1]])
    left = (rows[:, 2] > 2) | (rows[:, 0] < 6)
    scaler = StandardScaler().fit(rows)
    booster = xgboost.XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1)
    booster.fit(scaler.transform(rows), left)
    booster.save_model(folder / "churn.json")
    customers = [
        {
            "id": 88000 + i,
            "tenure_months": int(r[0]),
            "monthly_fee": round(float(r[1]), 2),
            "tickets_90d": int(r[2]),
        }
        for i, r in enumerate(rows[:100])
    ]
    return {
        "churn_scaler": _dump(scaler, folder / "churn_scaler.joblib"),
        "churn": folder / "churn.json",
        "customers": customers,
    }


def _dump(model: Any, path: Path) -> Path:
    joblib.dump(model, path)
    return path
