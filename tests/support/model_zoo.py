"""Models of every type, fitted on scikit-learn's own data, in files and as objects.

`make(folder)` returns one `Specimen` for each form of file. The acceptance tests deploy each and
compare; `docs/reference/model-types.md` shows what came out.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from penstock import model_type as M

WINE, KINDS = load_wine(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
DIGITS, FIGURES = load_digits(return_X_y=True)


@dataclass(frozen=True)
class Specimen:
    """A model of one type in one form.

    Attributes:
        type: The model type.
        form: The file's form, as the table calls it.
        stage: What stands in a flow: `(type, path[, functions])`.
        rows: Real rows, as many as there are to ask with.
        own: The library's own answer for rows.
        live: The object itself, where it may stand in place of the path.
        runs_code: Whether loading it can run code; None where the model is code itself.
        combine: How two parallel branches with it are combined to its own answer.
        joins: Whether calls that wait are joined.
        wrong: Data that it cannot take; where empty, narrower rows and words.
    """

    type: Any
    form: str
    stage: tuple[Any, ...]
    rows: np.ndarray
    own: Callable[[np.ndarray], Any]
    live: Any = None
    runs_code: bool | None = False
    combine: Any = "mean"
    wrong: tuple[Any, ...] = ()
    joins: bool = True

    @property
    def title(self) -> str:
        return f"{self.type.name} {self.form}"


def as_f32(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows, dtype=np.float32)


def trained_net(rows: np.ndarray, labels: np.ndarray) -> Any:
    import torch
    from small_net import SmallNet

    torch.manual_seed(3)
    net = SmallNet()
    x, y = torch.tensor(rows, dtype=torch.float32), torch.tensor(labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def make(folder: Path) -> list[Specimen]:
    """Fit and save all of them below `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # frameworks speak of their own futures
        made = [*boosted(folder), *estimators(folder), *nets(folder), *onnx(folder)]
        made += [*keras_models(folder), *mlflow_models(folder)]
        return [*made, *language_models(folder), *own_code()]


def boosted(folder: Path) -> list[Specimen]:
    import catboost
    import lightgbm
    import xgboost

    trees: dict[str, Any] = {"n_estimators": 12, "max_depth": 3, "n_jobs": 1, "random_state": 3}
    quiet = {"iterations": 12, "depth": 3, "verbose": False, "thread_count": 1, "random_seed": 3,
             "allow_writing_files": False}  # fmt: skip
    found = []
    xgb = xgboost.XGBClassifier(**trees).fit(WINE, KINDS)
    regressor = xgboost.XGBRegressor(**trees).fit(DIABETES, PROGRESS)
    for suffix in (".json", ".ubj"):
        xgb.save_model(folder / f"xgb{suffix}")
    regressor.save_model(folder / "xgbr.ubj")
    dump(xgb, folder / "xgb.pkl")
    c, r = M.XGBOOST_CLASSIFIER, M.XGBOOST_REGRESSOR
    proba = xgb.predict_proba
    found += [
        Specimen(c, ".json", (c, folder / "xgb.json"), WINE, proba, xgb),
        Specimen(c, ".ubj", (c, folder / "xgb.ubj"), WINE, proba),
        Specimen(c, ".pkl", (c, folder / "xgb.pkl"), WINE, proba, runs_code=True),
        Specimen(r, ".ubj", (r, folder / "xgbr.ubj"), DIABETES, regressor.predict, regressor),
    ]
    light = lightgbm.LGBMClassifier(verbose=-1, **trees).fit(WINE, KINDS)
    two = lightgbm.LGBMClassifier(verbose=-1, **trees).fit(CANCER, BENIGN)
    numbers = lightgbm.LGBMRegressor(verbose=-1, **trees).fit(DIABETES, PROGRESS)
    for name, model in (("light", light), ("two", two), ("numbers", numbers)):
        model.booster_.save_model(str(folder / f"{name}.txt"))
    dump(light, folder / "light.pkl")
    kind = M.LIGHTGBM
    found += [
        Specimen(kind, ".txt, three classes", (kind, folder / "light.txt"), WINE,
                 light.predict_proba, light),
        Specimen(kind, ".txt, two classes", (kind, folder / "two.txt"), CANCER,
                 two.predict_proba, two.booster_),
        Specimen(kind, ".txt, numbers", (kind, folder / "numbers.txt"), DIABETES,
                 numbers.predict, numbers),
        Specimen(kind, ".pkl", (kind, folder / "light.pkl"), WINE, light.predict_proba,
                 runs_code=True),
    ]  # fmt: skip
    cat = catboost.CatBoostClassifier(**quiet).fit(WINE, KINDS)
    pair = catboost.CatBoostClassifier(**quiet).fit(CANCER, BENIGN)
    curve = catboost.CatBoostRegressor(**quiet).fit(DIABETES, PROGRESS)
    counts = catboost.CatBoostRegressor(loss_function="Poisson", **quiet).fit(DIABETES, PROGRESS)
    for name, model in (("cat", cat), ("pair", pair), ("curve", curve), ("counts", counts)):
        model.save_model(str(folder / f"{name}.cbm"))
    cat.save_model(str(folder / "cat.json"), format="json")
    dump(cat, folder / "cat.pkl")
    kind = M.CATBOOST
    found += [
        Specimen(kind, ".cbm, three classes", (kind, folder / "cat.cbm"), WINE,
                 cat.predict_proba, cat),
        Specimen(kind, ".cbm, two classes", (kind, folder / "pair.cbm"), CANCER,
                 pair.predict_proba, pair),
        Specimen(kind, ".cbm, numbers", (kind, folder / "curve.cbm"), DIABETES,
                 curve.predict, curve),
        Specimen(kind, ".cbm, counts", (kind, folder / "counts.cbm"), DIABETES, counts.predict),
        Specimen(kind, ".json", (kind, folder / "cat.json"), WINE, cat.predict_proba),
        Specimen(kind, ".pkl", (kind, folder / "cat.pkl"), WINE, cat.predict_proba,
                 runs_code=True),
    ]  # fmt: skip
    return found


def estimators(folder: Path) -> list[Specimen]:
    import joblib
    import skops.io
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ridge = Ridge().fit(DIABETES, PROGRESS)
    forest = RandomForestClassifier(10, random_state=3).fit(WINE, KINDS)
    line = make_pipeline(StandardScaler(), LogisticRegression()).fit(CANCER, BENIGN)
    scaler = StandardScaler().fit(WINE)
    for name, model in (("ridge", ridge), ("forest", forest), ("line", line), ("scaler", scaler)):
        dump(model, folder / f"{name}.pkl")
        joblib.dump(model, folder / f"{name}.joblib")
        skops.io.dump(model, folder / f"{name}.skops")
    p, c, t, s = M.SKLEARN, M.SKLEARN_CLASSIFIER, M.SKLEARN_PREPROCESSOR, M.SKOPS
    code = {"runs_code": True}
    return [
        Specimen(p, ".pkl", (p, folder / "ridge.pkl"), DIABETES, ridge.predict, ridge, **code),
        Specimen(p, ".skops", (p, folder / "ridge.skops"), DIABETES, ridge.predict),
        Specimen(c, ".joblib", (c, folder / "forest.joblib"), WINE, forest.predict_proba, forest,
                 **code),
        Specimen(c, ".skops", (c, folder / "line.skops"), CANCER, line.predict_proba, line),
        Specimen(t, ".pkl", (t, folder / "scaler.pkl"), WINE, scaler.transform, scaler, **code),
        Specimen(s, "classifier", (s, folder / "forest.skops"), WINE, forest.predict_proba, forest),
        Specimen(s, "regressor", (s, folder / "ridge.skops"), DIABETES, ridge.predict, ridge),
        Specimen(s, "transformer", (s, folder / "scaler.skops"), WINE, scaler.transform, scaler),
    ]  # fmt: skip


def nets(folder: Path) -> list[Specimen]:
    import cloudpickle
    import safetensors.torch
    import torch
    from small_net import SmallNet

    torch.set_num_threads(1)
    net = trained_net(WINE, KINDS)

    def own(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.tensor(rows, dtype=torch.float32)).numpy()

    torch.jit.script(net).save(str(folder / "net.pt"))
    torch.save(net, folder / "net.pth")
    (folder / "net.pkl").write_bytes(cloudpickle.dumps(net))
    torch.save(net.state_dict(), folder / "weights.pt")
    safetensors.torch.save_model(net, str(folder / "net.safetensors"))
    rows = torch.tensor(WINE[:2], dtype=torch.float32)
    program = torch.export.export(net, (rows,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(program, folder / "net.pt2")
    t, s = M.TORCH, M.SAFETENSORS
    made = {"model": SmallNet}
    code = {"runs_code": True}
    return [
        Specimen(t, "TorchScript", (t, folder / "net.pt"), WINE, own, net),
        Specimen(t, "torch.save", (t, folder / "net.pth"), WINE, own, **code),
        Specimen(t, "pickle", (t, folder / "net.pkl"), WINE, own, **code),
        Specimen(t, "torch.export", (t, folder / "net.pt2"), WINE, own, program, **code),
        Specimen(t, "weights", (t, folder / "weights.pt", made), WINE, own, net),
        Specimen(s, ".safetensors", (s, folder / "net.safetensors", made), WINE, own, net),
    ]


def onnx(folder: Path) -> list[Specimen]:
    from skl2onnx import to_onnx
    from sklearn.linear_model import Ridge

    ridge = Ridge().fit(DIABETES, PROGRESS)
    model = to_onnx(ridge, as_f32(DIABETES[:1]))
    (folder / "ridge.onnx").write_bytes(model.SerializeToString())

    def own(rows: np.ndarray) -> Any:
        import onnxruntime

        session = onnxruntime.InferenceSession(
            str(folder / "ridge.onnx"), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"X": as_f32(rows)})[0]

    return [Specimen(M.ONNX, ".onnx", (M.ONNX, folder / "ridge.onnx"), DIABETES, own, model)]


def keras_models(folder: Path) -> list[Specimen]:
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.utils.set_random_seed(3)
    digits = keras.Sequential(
        [keras.layers.Input((8, 8)), keras.layers.Reshape((8, 8, 1)),
         keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(),
         keras.layers.Dropout(0.3), keras.layers.Dense(10, activation="softmax")]
    )  # fmt: skip
    digits.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    images = as_f32(DIGITS.reshape(-1, 8, 8) / 16.0)
    digits.fit(images[:400], FIGURES[:400], epochs=2, verbose=0, shuffle=False)
    digits.save(folder / "digits.keras")

    def own(rows: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras and torch, of each other's arrays
            return digits.predict(as_f32(rows), verbose=0)

    stage = (M.KERAS, folder / "digits.keras")
    return [Specimen(M.KERAS, ".keras", stage, images, own, digits)]


def mlflow_models(folder: Path) -> list[Specimen]:
    import os

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.sklearn
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import Ridge

    frame = load_diabetes(as_frame=True).data
    ridge = Ridge().fit(frame, PROGRESS)
    signature = infer_signature(frame, ridge.predict(frame))
    mlflow.sklearn.save_model(
        ridge, folder / "mlflow", signature=signature, pip_requirements=["scikit-learn"]
    )

    def own(rows: np.ndarray) -> Any:
        return ridge.predict(pd.DataFrame(rows, columns=frame.columns))

    stage = (M.MLFLOW, folder / "mlflow")
    return [Specimen(M.MLFLOW, "scikit-learn, columns", stage, DIABETES, own, runs_code=True)]


def language_models(folder: Path) -> list[Specimen]:
    """A spaCy pipeline and a transformers one, which take texts."""
    import json

    import spacy
    import tiny_models
    from transformers import pipeline

    names = tiny_models.spacy_pipeline(folder / "names")
    nlp = spacy.load(names)
    judge = tiny_models.text_classifier(folder / "judge")
    classify = pipeline("text-classification", model=str(judge), device=-1)
    words = ["good", "bad", "quiet", "loud", "fast", "slow"]
    texts = [f"Ada saw a {words[n % 6]} machine at gate {n} of the Hoover Dam" for n in range(160)]
    rows = np.array(texts, dtype=object)

    def documents(given: np.ndarray) -> Any:
        return [with_words(doc.to_json()) for doc in nlp.pipe(given.tolist())]

    def verdicts(given: np.ndarray) -> Any:
        return json.loads(json.dumps(classify(given.tolist())))

    stage = (M.HUGGINGFACE_PIPELINE, {"task": "text-classification", "model": judge})
    odd = ([[1]], {"no such": 1}, 3)
    return [
        Specimen(M.SPACY, "folder", (M.SPACY, names), rows, documents, combine=first, wrong=odd),
        Specimen(M.HUGGINGFACE_PIPELINE, "text classification", stage, rows, verdicts,
                 combine=first, wrong=odd[1:], joins=False),
    ]  # fmt: skip


def own_code() -> list[Specimen]:
    """A function and a class as models."""
    from own_models import Shares, lengths

    def shares(rows: np.ndarray) -> Any:
        return 100.0 * rows / rows.sum(axis=1, keepdims=True)

    wrong = ([["a word"] * 3],)
    return [
        Specimen(M.PYTHON, "function", (M.PYTHON, lengths), WINE,
                 lambda rows: np.sqrt((rows**2).sum(axis=1)), runs_code=None, wrong=wrong,
                 joins=False),
        Specimen(M.PYTHON, "class", (M.PYTHON, Shares), WINE, shares, runs_code=None, wrong=wrong,
                 joins=False),
    ]  # fmt: skip


def with_words(told: dict[str, Any]) -> dict[str, Any]:
    """Return spaCy's own JSON of a document with the words of its parts written out."""
    for piece in (*told["tokens"], *told.get("ents", ())):
        piece["text"] = told["text"][piece["start"] : piece["end"]]
    return told


def first(results: Any) -> Any:
    return results[0]


def dump(model: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(model))
