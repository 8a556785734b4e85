"""Small real models in files, and flows made of them."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import xgboost
from overlapping import Worker as OverlapWorker
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from penstock.codec.frames import CallFrame
from penstock.core.flow import Flow
from penstock.core.names import new_run_id
from penstock.flow.assemble import assemble_local
from penstock.flow.local_memory import LocalMemory
from penstock.flow.service import FlowService


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> SimpleNamespace:
    """Model files: `net` (13→4, TorchScript), `xgb` (4→3 classes), `wine_xgb`, `scaler`, …"""
    folder = tmp_path_factory.mktemp("models")
    x, y = load_wine(return_X_y=True)
    torch.manual_seed(2)
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(13), torch.nn.Linear(13, 4), torch.nn.Tanh())
    net(torch.tensor(x, dtype=torch.float32))
    net.eval()
    with torch.no_grad():
        hidden = net(torch.tensor(x, dtype=torch.float32)).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(folder / "net.pt"))
    common = {"n_estimators": 20, "max_depth": 3, "n_jobs": 1, "random_state": 1}
    xgb = xgboost.XGBClassifier(**common).fit(hidden, y)
    xgb.save_model(folder / "xgb.json")
    wine_xgb = xgboost.XGBClassifier(**common).fit(x, y)
    wine_xgb.save_model(folder / "wine_xgb.ubj")
    scaler = StandardScaler().fit(x)
    logistic = LogisticRegression().fit(scaler.transform(x), y)
    cancer_x, _ = load_breast_cancer(return_X_y=True)
    regressor = LinearRegression().fit(cancer_x[:, 1:3], cancer_x[:, 0])
    logistic4 = LogisticRegression().fit(hidden, y)
    for name, model in (
        ("scaler", scaler),
        ("logistic", logistic),
        ("logistic4", logistic4),
        ("regressor", regressor),
    ):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
    return SimpleNamespace(
        folder=folder,
        x=np.ascontiguousarray(x),
        y=y,
        net=folder / "net.pt",
        xgb=folder / "xgb.json",
        wine_xgb=folder / "wine_xgb.ubj",
        scaler=folder / "scaler.pkl",
        logistic=folder / "logistic.pkl",
        logistic4=folder / "logistic4.pkl",
        regressor=folder / "regressor.pkl",
        hidden=hidden,
        own=SimpleNamespace(
            net=net,
            xgb=xgb,
            wine_xgb=wine_xgb,
            scaler=scaler,
            logistic=logistic,
            regressor=regressor,
        ),
    )


@dataclass
class Worker:
    """A service as a worker runs it, called with plain values."""

    service: FlowService
    memory: LocalMemory

    def frames(self, *bodies: Any, **more: Any) -> list[CallFrame]:
        out = []
        for number, body in enumerate(bodies):
            raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
            fields = {
                "call_id": number,
                "run_id": new_run_id(),
                "flags": 0,
                "arrived_ns": 0,
                "deadline_ns": 0,
                "media_type": "application/json",
                "body": memoryview(raw),
                "body_size": len(raw),
            }
            out.append(CallFrame(**{**fields, **more}))
        return out

    def answers(self, *bodies: Any, **more: Any) -> list[dict[str, Any]]:
        """Answer calls together; each answer is the parsed body."""
        replies = self.service.answer(self.frames(*bodies, **more))
        return [msgspec.json.decode(reply.body) for reply in replies]

    def results(self, *bodies: Any) -> list[Any]:
        answers = self.answers(*bodies)
        assert all("result" in a for a in answers), answers
        return [a["result"] for a in answers]

    def error(self, *bodies: Any, **more: Any) -> dict[str, Any]:
        (answer,) = self.answers(*bodies, **more)
        return answer["error"]

    def batching(self) -> list[dict[str, Any]]:
        return [stage["batching"] for stage in self.service.facts()["stages"]]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Return a function that makes a `Worker` of a flow."""
    monkeypatch.chdir(tmp_path)  # put back at the end: the service moves to its desk

    def make(flow, *, max_batch: int = 64, memory: LocalMemory | None = None) -> Worker:
        memory = memory or LocalMemory()
        loaded = assemble_local(Flow.parse(flow), threads=1, max_batch=max_batch)
        number = len(list(Path(tmp_path).glob("scratch-*")))
        return Worker(FlowService(loaded, memory.ask, tmp_path / f"scratch-{number}"), memory)

    return make


@pytest.fixture
def overlap_worker(tmp_path, monkeypatch):
    """Return a function that makes a worker of a flow whose runs overlap."""
    monkeypatch.chdir(tmp_path)  # put back at the end: the service moves to its desk
    made: list[OverlapWorker] = []

    def make(flow: list[Any], concurrency: int = 8, max_batch: int = 64) -> OverlapWorker:
        folder = tmp_path / f"overlap-{len(made)}"
        made.append(OverlapWorker(flow, folder, concurrency, max_batch))
        return made[-1]

    yield make
    for one in made:
        one.end()
