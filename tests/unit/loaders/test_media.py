"""Sound and pictures for pipelines: formats, rates, and what is left to the pipeline."""

from __future__ import annotations

import base64
import io
import struct
import wave

import numpy as np
import pytest
import tiny_models
from PIL import Image

from penstock.loaders.media import (
    for_each,
    from_base64,
    open_image,
    open_sound,
    png_text,
    read_wav,
)


def written(samples: np.ndarray, width: int, channels: int = 1, rate: int = 8000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return content.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_number_samples_of_any_width_become_numbers_from_minus_one_to_one(width):
    levels = [-0.5, 0.0, 0.25]
    if width == 1:
        raw = np.array([64, 128, 160], np.uint8)
    elif width == 3:
        packed = b"".join(struct.pack("<i", int(v * 2**23))[:3] for v in levels)
        raw = np.frombuffer(packed, np.uint8)
    else:
        raw = np.array([v * 2 ** (8 * width - 1) for v in levels], f"<i{width}")
    samples, rate = read_wav(written(raw, width))
    assert rate == 8000
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.array(levels, np.float32))


def test_channels_are_averaged():
    raw = np.array([[16384, 0], [0, -16384]], "<i2")
    np.testing.assert_array_equal(read_wav(written(raw, 2, channels=2))[0], [0.25, -0.25])


@pytest.mark.parametrize("content", [b"", b"OggS" + bytes(40), b"RIFF\0\0\0\0WAVEjunk"])
def test_what_is_no_wav_file_is_left_to_the_pipeline(content):
    assert read_wav(content) is None
    assert open_sound(content, 16_000) == content


@pytest.mark.parametrize("form", ["bytes", "file", "name", "dict"])
def test_sound_comes_at_the_rate_of_the_model(form, tmp_path):
    content = tiny_models.wav(3, rate=48_000)
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    forms = {
        "bytes": content,
        "file": io.BytesIO(content),
        "name": str(path),
        "dict": {"array": tiny_models.tone(3, 48_000).tolist(), "sampling_rate": 48_000},
    }
    made = open_sound(forms[form], 16_000)
    samples = made["array" if form == "dict" else "raw"]
    assert made["sampling_rate"] == 16_000
    assert samples.dtype == np.float32
    assert len(samples) == 16_000
    # The ends ring, as every filter does.
    np.testing.assert_allclose(samples[500:-500], tiny_models.tone(3)[500:-500], atol=5e-3)


def test_a_broken_wav_file_gives_the_samples_it_has():
    content = tiny_models.wav(1)[:-1001]
    samples, _ = read_wav(content)
    assert 15_400 < len(samples) < 15_600


def test_pictures_come_from_bytes_files_and_pixels_and_go_as_png():
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    kept = io.BytesIO()
    picture.save(kept, "PNG")
    for form in (kept.getvalue(), io.BytesIO(kept.getvalue()), np.asarray(picture)):
        np.testing.assert_array_equal(np.asarray(open_image(form)), np.asarray(picture))
    assert open_image("a text") == "a text"
    back = open_image(from_base64(png_text(picture)))
    np.testing.assert_array_equal(np.asarray(back), np.asarray(picture))


def test_base64_may_be_wrapped_in_lines_and_anything_else_is_no_base64():
    text = base64.b64encode(bytes(range(100))).decode()
    assert from_base64("\n".join([text[:76], text[76:]])) == bytes(range(100))
    assert from_base64(f"data:audio/wav;base64,{text}") == bytes(range(100))
    assert from_base64("../secret.wav") is None
    assert from_base64("/etc/passwd!") is None


def test_nested_values_are_changed_one_by_one():
    assert for_each({"a": [1, (2, 3)], "b": 4}, lambda n: n + 1) == {"a": [2, [3, 4]], "b": 5}
