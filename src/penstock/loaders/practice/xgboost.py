"""Trains a booster of one small tree and calls it: what XGBoost builds for the first."""

from __future__ import annotations

import numpy as np
import xgboost

from penstock.loaders.xgboost import XGBoostModel


def practise() -> None:
    """Take a booster the way of a deployed one, from its bytes to its answer, on one thread."""
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    settings = {"nthread": 1, "max_depth": 1, "verbosity": 0, "objective": "binary:logistic"}
    matrix = xgboost.DMatrix(table, label=np.array([0, 0, 1, 1]), nthread=1)
    trained = xgboost.train(settings, matrix, num_boost_round=1)
    booster = xgboost.Booster()
    booster.load_model(bytearray(trained.save_raw("json")))
    booster.set_param({"nthread": 1, "device": "cpu"})
    XGBoostModel(booster, True, float("nan")).predict(table)


practise()
