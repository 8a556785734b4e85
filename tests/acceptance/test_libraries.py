"""The libraries a processing function may use: each works inside one, on real data, as at home.

numpy, scikit-learn, torch, pandas, Pillow and transformers. What the function computes on the
server is compared with what it computes here, in the process that deployed it.
"""

from __future__ import annotations

import io
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from PIL import Image
from sklearn.datasets import load_iris, load_sample_image
from sklearn.linear_model import LogisticRegression

from penstock import Conduit, deploy, model_type
from penstock.core.errors import StageMismatch

IRIS, KINDS = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iris") / "iris.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression(max_iter=500).fit(IRIS, KINDS)))
    return path


@pytest.fixture
def same(put: Any) -> Any:
    """Deploy a flow, require the answer it gives here, and return it."""

    def call(flow: Any, data: Any, files: Any = ()) -> Any:
        found = put(flow).predict(data, files=list(files) or None)
        assert json.dumps(found) == json.dumps(Conduit("here", None, flow).run(data, files))
        return found

    return call


def test_numpy_inside_functions(same: Any, iris: Path) -> None:
    def pre(data):
        import numpy as np

        return np.clip(np.nan_to_num(np.array(data, dtype=float), nan=1.0), 0, 8)

    def post(result):
        import numpy as np

        order = np.argsort(-result, axis=1)
        return {"best": order[:, 0], "entropy": -(result * np.log(result)).sum(axis=1)}

    rows = [[5.1, 3.5, None, 0.2], [6.2, 2.9, 4.3, 99.0]]
    found = same([(model_type.SKLEARN_CLASSIFIER, iris, {"pre": pre, "post": post})], rows)
    own = LogisticRegression(max_iter=500).fit(IRIS, KINDS)
    expected = own.predict_proba([[5.1, 3.5, 1.0, 0.2], [6.2, 2.9, 4.3, 8.0]])
    assert found["best"] == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(found["entropy"], -(expected * np.log(expected)).sum(axis=1))


def test_scikit_learn_inside_functions(same: Any, iris: Path) -> None:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(IRIS)

    def pre(data):
        from sklearn.impute import SimpleImputer

        filled = SimpleImputer(strategy="constant", fill_value=0.0).fit_transform(data)
        return scaler.inverse_transform(filled)  # fitted here, it travels with the function

    def post(result, input_data):
        from sklearn.metrics import pairwise_distances

        return pairwise_distances(result, metric="cityblock")

    rows = scaler.transform(IRIS[[0, 60, 120]]).round(6).tolist()
    found = same([(model_type.SKLEARN_CLASSIFIER, iris, {"pre": pre, "post": post})], rows)
    own = LogisticRegression(max_iter=500).fit(IRIS, KINDS)
    odds = own.predict_proba(scaler.inverse_transform(rows))
    np.testing.assert_allclose(found, np.abs(odds[:, None] - odds[None]).sum(axis=2), atol=1e-9)


def test_torch_inside_functions(same: Any, iris: Path) -> None:
    def pre(data):
        import torch

        return torch.tensor(data).clamp(min=0).flip(0)

    def post(result):
        import torch

        best = torch.from_numpy(result).topk(2, dim=1)
        return {"scores": torch.softmax(best.values, dim=1), "classes": best.indices}

    rows = IRIS[::70].tolist()
    found = same([(model_type.SKLEARN_CLASSIFIER, iris, {"pre": pre, "post": post})], rows)
    own = LogisticRegression(max_iter=500).fit(IRIS, KINDS).predict_proba(IRIS[::70][::-1])
    assert found["classes"] == np.argsort(-own, axis=1)[:, :2].tolist()
    np.testing.assert_allclose(np.sum(found["scores"], axis=1), 1.0)


def test_pandas_inside_functions(same: Any, iris: Path) -> None:
    def pre(data):
        import pandas as pd

        frame = pd.DataFrame(data)
        frame["measured"] = pd.to_datetime(frame["measured"])
        latest = frame.sort_values("measured").groupby("plant").last()
        return latest[["sepal_l", "sepal_w", "petal_l", "petal_w"]].to_numpy()

    def post(result, input_data):
        import pandas as pd

        plants = sorted({row["plant"] for row in input_data})
        return pd.DataFrame(result, index=plants).idxmax(axis=1).to_dict()

    names = ["sepal_l", "sepal_w", "petal_l", "petal_w"]
    rows = [
        {"plant": plant, "measured": f"2026-0{month}-01", **dict(zip(names, values, strict=True))}
        for plant, month, values in [
            ("b", 3, IRIS[0].tolist()), ("b", 2, IRIS[140].tolist()), ("a", 1, IRIS[140].tolist()),
        ]
    ]  # fmt: skip
    found = same([(model_type.SKLEARN_CLASSIFIER, iris, {"pre": pre, "post": post})], rows)
    assert found == {"a": 2, "b": 0}


def test_pillow_inside_functions_on_photos(same: Any, tmp_path: Path) -> None:
    def sizes(data):
        return data

    def pre(data, files):
        from PIL import Image, ImageOps, ImageStat

        photos = [ImageOps.exif_transpose(Image.open(file)).convert("RGB") for file in files]
        return [[*photo.size, *ImageStat.Stat(photo.resize((32, 32))).mean] for photo in photos]

    def post(result, input_data):
        return dict(zip(input_data, result, strict=True))

    paths = []
    for name in ("china.jpg", "flower.jpg"):
        content = io.BytesIO()
        Image.fromarray(load_sample_image(name)).save(content, "JPEG")
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content.getvalue())
    flow = [(model_type.PYTHON, sizes, {"pre": pre, "post": post})]
    found = same(flow, [path.name for path in paths], paths)
    assert list(found) == ["china.jpg", "flower.jpg"]
    for path in paths:
        width, height, *colour = found[path.name]
        assert (width, height) == (640, 427)
        small = np.asarray(Image.open(path).resize((32, 32)), float)
        np.testing.assert_allclose(colour, small.mean(axis=(0, 1)))


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A text model as ONNX, and its tokenizer, which a `pre` takes along."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("reviews")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiny_models.text_classifier(folder / "model")
        model = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")

        class Logits(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = model

            def forward(self, input_ids, attention_mask):
                return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits

        names = ["input_ids", "attention_mask"]
        sample = tokenizer(["good", "very bad"], return_tensors="pt", padding=True)
        torch.onnx.export(
            Logits().eval(), tuple(sample[name] for name in names), folder / "reviews.onnx",
            input_names=names, dynamic_axes={n: {0: "texts", 1: "tokens"} for n in names},
            dynamo=False,
        )  # fmt: skip
    return {"path": folder / "reviews.onnx", "tokenizer": tokenizer, "model": model}


def test_transformers_inside_functions(same: Any, reviews: dict[str, Any]) -> None:
    tokenizer = reviews["tokenizer"]

    def pre(data):
        found = tokenizer(data, return_tensors="np", padding=True)
        return {name: found[name] for name in ("input_ids", "attention_mask")}

    def post(result, input_data):
        from transformers.utils import ModelOutput

        scores = ModelOutput(logits=result).logits.argmax(axis=1)
        labels = [["NEGATIVE", "POSITIVE"][n] for n in scores]
        return dict(zip(input_data, labels, strict=True))

    texts = [text for text, _ in tiny_models.REVIEWS]
    found = same([(model_type.ONNX, reviews["path"], {"pre": pre, "post": post})], texts)
    assert found == dict(tiny_models.REVIEWS)


def test_a_library_used_wrongly_inside_a_function_is_the_functions_error(
    put: Any, iris: Path, server: Any
) -> None:
    def pre(data):
        import pandas as pd

        return pd.DataFrame(data).iloc[:, :2]

    flow = [(model_type.SKLEARN_CLASSIFIER, iris, {"pre": pre})]
    key = server.keys["deploy"]
    endpoint = deploy(flow, "too-narrow", key, server=server.url, quiet=True)
    with pytest.raises(StageMismatch) as caught:
        endpoint.predict(IRIS[:2].tolist())
    assert (caught.value.stage, caught.value.function) == (1, "pre")
    endpoint.delete()
