"""Pictures and sound for pipelines: file objects and bytes become what a pipeline takes.

Used by `penstock.loaders.transformers`. WAV files are read here, so that they need no `ffmpeg`;
any other sound is left to the pipeline, which calls it.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import wave
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NO_BASE64 = (binascii.Error, ValueError)


def for_each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return `value` with `change` applied to everything in it that is no list or dict."""
    if isinstance(value, (list, tuple)):
        return [for_each(item, change) for item in value]
    if isinstance(value, dict):
        return {key: for_each(item, change) for key, item in value.items()}
    return change(value)


def open_image(value: Any) -> Any:
    """Return a file object, bytes or an array of pixels as a picture; anything else as it is."""
    from PIL import Image

    if isinstance(value, (bytes, bytearray, memoryview)):
        return Image.open(io.BytesIO(value))
    if hasattr(value, "read"):
        return Image.open(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return Image.fromarray(value)
    return value


def open_sound(value: Any, rate: int) -> Any:
    """Return sound at `rate` samples a second, as audio pipelines take it.

    Args:
        value: A file's name, a binary file object, its bytes, or
            `{"raw": samples, "sampling_rate": rate}` (`array` in place of `raw` is fine).
        rate: Samples a second that the model was trained on.

    Returns:
        `{"raw": float32 samples of one channel, "sampling_rate": rate}`; the bytes of a file that
        is no WAV file; anything else as it is.
    """
    if isinstance(value, dict):
        return _at_rate(value, rate)
    if hasattr(value, "read"):
        value = value.read()
    content = value
    if isinstance(value, (str, os.PathLike)):
        with open(value, "rb") as file:
            content = file.read()
    if not isinstance(content, (bytes, bytearray, memoryview)):
        return value
    found = read_wav(bytes(content))
    if found is None:
        return content
    samples, own_rate = found
    return {"raw": _resampled(samples, own_rate, rate), "sampling_rate": rate}


def _at_rate(sound: dict[str, Any], rate: int) -> dict[str, Any]:
    name = "raw" if "raw" in sound else "array"
    if name not in sound or not isinstance(sound.get("sampling_rate"), int):
        return sound
    samples = np.asarray(sound[name], np.float32)
    if samples.ndim == 1:
        samples = _resampled(samples, sound["sampling_rate"], rate)
        return {**sound, name: samples, "sampling_rate": rate}
    return {**sound, name: samples}


def read_wav(content: bytes) -> tuple[NDArray[np.float32], int] | None:
    """Return samples from -1 to 1, averaged over the channels, and their rate.

    None when the bytes are no WAV file of whole-number samples.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return None
    raw = raw[: len(raw) - len(raw) % (width * channels)]
    samples = _as_floats(raw, width).reshape(-1, channels)
    return samples.mean(axis=1, dtype=np.float32), rate


def _as_floats(raw: bytes, width: int) -> NDArray[np.float32]:
    """Return little-endian samples of `width` bytes as numbers from -1 to 1."""
    if width == 1:  # the one width that is unsigned
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128.0) / np.float32(128.0)
    if width == 3:
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        whole: NDArray[Any] = padded.view("<i4").ravel()
        width = 4
    else:
        whole = np.frombuffer(raw, f"<i{width}")
    return (whole / float(1 << (8 * width - 1))).astype(np.float32)


def _resampled(samples: NDArray[np.float32], own: int, wanted: int) -> NDArray[np.float32]:
    if own == wanted or not len(samples):
        return samples
    try:
        signal = import_module("scipy.signal")
    except ImportError:
        at = np.arange(round(len(samples) * wanted / own)) * (own / wanted)
        made = np.interp(at, np.arange(len(samples)), samples)
    else:
        divisor = int(np.gcd(own, wanted))
        made = signal.resample_poly(samples, wanted // divisor, own // divisor)
    return np.asarray(made, np.float32)


def from_base64(text: str) -> bytes | None:
    """Return the bytes in a base64 text, also one that begins `data:…;base64,`; None if none."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except _NO_BASE64:
        return None


def png_text(image: Any) -> str:
    """Return a picture as a `data:` address, which JSON can hold and browsers show."""
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return "data:image/png;base64," + base64.b64encode(kept.getvalue()).decode()
