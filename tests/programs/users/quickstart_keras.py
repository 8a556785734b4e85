"""Extra (e): the quickstart of Keras: converted to ONNX, with an input named `x`."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch

from penstock import deploy, model_api_request, model_type

keras.utils.set_random_seed(1)
model = keras.Sequential(
    [
        keras.layers.Input((4,)),
        keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(3, activation="softmax"),
    ]
)
rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]], dtype=np.float32)
torch.onnx.export(
    model.eval(),
    (torch.from_numpy(rows),),
    "keras.onnx",
    input_names=["x"],
    dynamic_axes={"x": {0: "rows"}},
    dynamo=False,
)

endpoint = deploy((model_type.ONNX, "keras.onnx"), "keras-onnx", os.environ["PRIVATE_KEY"])
answer = model_api_request(endpoint, [{"x": rows.tolist()}], os.environ["PUBLIC_KEY"])
own = model.predict(rows, verbose=0)
print(answer["status_code"], np.abs(np.array(answer["data"]["result"]) - own).max() < 1e-5)
