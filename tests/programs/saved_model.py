"""Trains a SavedModel with TensorFlow and deploys it; run by a Python that has TensorFlow.

`saved_model.py FOLDER` starts a server of its own in FOLDER, and prints one JSON object: the
answers of TensorFlow, of a local run, of the served version, and what is known of the model.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

ROWS = [[0.1 * column + row for column in range(4)] for row in range(6)]


def train(folder: Path) -> Any:
    import keras
    import numpy as np

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.layers.Input((4,), name="measures"), keras.layers.Dense(8, activation="relu"),
         keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")]
    )  # fmt: skip
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(np.array(ROWS), np.array([0, 1, 2, 0, 1, 2]), epochs=2, verbose=0)
    model.export(str(folder), verbose=False)
    return model.predict(np.array(ROWS), verbose=0)


def main(folder: Path) -> None:
    import penstock
    from penstock import Conduit, PenstockError, deploy, model_type

    os.environ["PENSTOCK_PROFILE"] = str(folder / "profile.json")
    own = train(folder / "wine")
    flow = [(model_type.TENSORFLOW, folder / "wine")]
    conduit = Conduit("here", None, flow)
    told: dict[str, Any] = {"own": own.tolist(), "here": conduit.run(ROWS)}
    server = penstock.start(data=folder / "data")
    try:
        endpoint = deploy(flow, "wine", quiet=True)
        told["served"] = endpoint.predict(ROWS)
        told["named"] = endpoint.predict({"measures": ROWS})
        told["together"] = together(endpoint)
        told["runs_code"] = endpoint.versions()[-1].stages[0]["runs_code"]
        try:
            endpoint.predict([[1.0, 2.0]])
        except PenstockError as error:
            told["narrow"] = error.code
    finally:
        server.stop()
    print(json.dumps(told))


def together(endpoint: Any) -> list[Any]:
    """Ask with every row at once, three times, and return the last answers."""
    answers: list[Any] = [None] * len(ROWS)

    def ask(index: int) -> None:
        answers[index] = endpoint.predict([ROWS[index]])[0]

    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(ROWS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return answers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
