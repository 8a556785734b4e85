"""The digits flow: one array for all, resized only where needed."""

import logging

import numpy as np
from PIL import Image

from penstock import get, save

SIZE = (8, 8)
SCALE = 255.0
log = logging.getLogger("digits")


def to_gray(file):
    image = Image.open(file).convert("L")
    return image if image.size == SIZE else image.resize(SIZE)


def read_images(data, files):
    save("names", data)
    log.info("%d files", len(files))
    batch = np.stack([np.asarray(to_gray(file)) for file in files])
    batch = batch.astype("float32") / SCALE
    print(f"normalised, mean {batch.mean():.3f}")
    return batch[:, None]


def to_labels(result, input_data, files):
    best = result.argmax(axis=1)
    for name, row in zip(get("names"), result):
        if row.max() < 0.6:
            log.warning("%s: best class at %.2f, under 0.60", name, row.max())
    return dict(zip(get("names"), best))
