"""Extra (e): LayoutLMv3 converted to ONNX, tried here with `load('./onnx/')` and `run([payload])`.

The documentation's model is a large one of the Hub; this one has the same class and inputs.
"""

import os

import numpy as np
import torch
from transformers import LayoutLMv3Config, LayoutLMv3ForTokenClassification

from penstock import Conduit, model_type

NAMES = ["input_ids", "attention_mask", "bbox", "pixel_values"]

torch.manual_seed(1)
config = LayoutLMv3Config(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    coordinate_size=4,
    shape_size=4,
    input_size=32,
    patch_size=16,
    max_position_embeddings=40,
    num_labels=3,
)


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = LayoutLMv3ForTokenClassification(config)

    def forward(self, input_ids, attention_mask, bbox, pixel_values):
        return self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            bbox=bbox,
            pixel_values=pixel_values,
        ).logits


model = Logits().eval()
inputs = (
    torch.randint(3, 50, (1, 8)),
    torch.ones(1, 8, dtype=torch.long),
    torch.randint(0, 100, (1, 8, 1)).repeat(1, 1, 4),
    torch.rand(1, 3, 32, 32),
)
os.makedirs("onnx", exist_ok=True)
torch.onnx.export(
    model, inputs, "layoutlm.onnx", input_names=NAMES, output_names=["logits"], dynamo=False
)
os.replace("layoutlm.onnx", "onnx/layoutlm.onnx")

conduit = Conduit("layoutlm", os.environ["PRIVATE_KEY"], [(model_type.ONNX, "onnx/layoutlm.onnx")])
conduit.load("./onnx/")
payload = {name: value.numpy() for name, value in zip(NAMES, inputs, strict=True)}
found = conduit.run([payload])
with torch.no_grad():
    own = model(*inputs).numpy()
print(np.abs(np.array(found) - own).max() < 1e-4)
