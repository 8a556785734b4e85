"""A model call uses the threads its version has and no more, by the processor time of each."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

ROWS, KINDS = load_wine(return_X_y=True)

PROGRAM = """
    import json, sys, time
    import numpy as np
    from pathlib import Path
    from penstock.core.model_types import ModelType
    from penstock.loaders.base import ModelFile
    from penstock.loaders.registry import load_model

    def spent():
        tasks = Path("/proc/self/task").iterdir()
        return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}

    def busy(before):
        more = {name: ns - before.get(name, 0) for name, ns in spent().items()}
        return sum(ns > 0.1 * max(more.values()) for ns in more.values())

    kind, path, dtype = ModelType[sys.argv[1]], Path(sys.argv[2]), sys.argv[3]
    rows = np.tile(np.asarray(json.loads(sys.stdin.read()), dtype), (400, 1))
    if kind is ModelType.TORCH:
        import torch
        rows = torch.from_numpy(rows)
    counts = []
    for threads in (1, 2):
        model = load_model(ModelFile(path, path.name), kind, threads)
        given = {model.inputs[0].name: rows} if kind is ModelType.ONNX else rows
        model.predict(given)
        time.sleep(0.1)  # threads of the load spin for a moment after their work
        before = spent()
        for _ in range(5):
            model.predict(given)
        counts.append(busy(before))
    print(json.dumps(counts))
"""


def counts(kind: str, path: Path, dtype: str) -> list[int]:
    """Return how many threads work while a model is called that has one, then two."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), kind, str(path), dtype],
        input=json.dumps(ROWS.tolist()), capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told by /proc")
def test_xgboost_uses_the_threads_it_is_given(tmp_path: Path) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=60, n_jobs=2).fit(ROWS, KINDS)
    model.save_model(tmp_path / "m.ubj")
    assert counts("XGBOOST_CLASSIFIER", tmp_path / "m.ubj", "float32") == [1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told by /proc")
def test_onnx_runtime_uses_the_threads_it_is_given(tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(20, random_state=3).fit(ROWS, KINDS)
    made = to_onnx(forest, ROWS[:1].astype(np.float32), options={"zipmap": False})
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    assert counts("ONNX", tmp_path / "m.onnx", "float32") == [1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told by /proc")
def test_torch_uses_the_threads_it_is_given(tmp_path: Path) -> None:
    import warnings

    import torch

    net = torch.nn.Sequential(torch.nn.Linear(13, 512), torch.nn.ReLU(), torch.nn.Linear(512, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is in maintenance mode
        torch.jit.script(net).save(str(tmp_path / "m.pt"))
    assert counts("TORCH", tmp_path / "m.pt", "float32") == [1, 2]
