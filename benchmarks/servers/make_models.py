"""Makes the models, the request bodies and the expected answers, once, with fixed seeds.

Run by `setup_peers.py` and, when something is missing, by `run.py`. Needs torch, xgboost, numpy
and Pillow; the folder is $PENSTOCK_BENCH_DIR.
"""

import io
import json

import flow
import numpy as np
import torch
import xgboost
from PIL import Image
from torch import nn

IMAGES = 4


def main():
    folder = flow.WORK
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    rng = np.random.default_rng(7)
    save_torch(folder)
    save_xgboost(folder, rng)
    rows = np.round(rng.normal(size=(32, 16)), 6).tolist()
    (folder / "a.json").write_text(json.dumps(rows[:1]))
    (folder / "b.json").write_text(json.dumps(rows))
    images = [picture(rng, number) for number in range(IMAGES)]
    for number, image in enumerate(images):
        (folder / f"c{number or ''}.jpg").write_bytes(image)
    (folder / "answers.json").write_text(json.dumps(answers(rows, images)))
    save_table(folder, np.random.default_rng(11))
    for path in sorted(folder.iterdir()):
        if path.is_file():
            print(f"  {path.name:<16} {path.stat().st_size:>9,} bytes")


def save_torch(folder):
    mlp = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
    torch.jit.script(mlp).save(str(folder / "mlp.pt"))
    layers = []
    for taken, given in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(taken, given, 3, stride=2, padding=1), nn.ReLU()]
    cnn = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    torch.jit.script(cnn).save(str(folder / "cnn.pt"))
    torch.jit.script(nn.Identity().eval()).save(str(folder / "same.pt"))


def save_xgboost(folder, rng):
    x = rng.normal(size=(4000, 8)).astype(np.float32)
    noise = 0.3 * rng.normal(size=4000)
    y = (x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + noise > 0).astype(int)
    settings = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.2, "nthread": 1, "seed": 7}
    booster = xgboost.train(settings, xgboost.DMatrix(x, label=y), num_boost_round=50)
    booster.save_model(str(folder / "xgb.json"))


def picture(rng, number):
    """A textured picture whose JPEG is about 60 KB; each number has other waves."""
    side = 480
    yy, xx = np.mgrid[0:side, 0:side]
    waves = [
        128 + 90 * np.sin(xx / (9 + c + 7 * number)) * np.cos(yy / (13 + c + 5 * number))
        for c in range(3)
    ]
    noisy = np.stack(waves, axis=2) + rng.normal(scale=18, size=(side, side, 3))
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    sizes = {}
    for quality in range(40, 96):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        sizes[abs(buffer.tell() - 60_000)] = buffer.getvalue()
    return sizes[min(sizes)]


def answers(rows, images):
    tabular, vision = flow.Tabular(), flow.Vision()
    return {
        "A": tabular.one(rows[:1]),
        "B": tabular.one(rows),
        "C": vision.one(images[0]),
        "C_each": [vision.one(image) for image in images],
        "D": rows[:1],
    }


def save_table(folder, rng):
    """Case E: 1000 rows of 100 float32, as npy and as the same numbers in JSON."""
    torch.manual_seed(11)
    net = nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 10)).eval()
    torch.jit.script(net).save(str(folder / "e.pt"))
    x = rng.normal(size=(1000, 100)).astype(np.float32)
    np.save(folder / "e.npy", x)
    (folder / "e.json").write_text(json.dumps(x.tolist()))
    with torch.inference_mode():
        out = net(torch.from_numpy(x)).numpy()
    (folder / "e_answer.json").write_text(json.dumps(out.tolist()))


if __name__ == "__main__":
    main()
