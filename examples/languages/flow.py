"""The language flow: a transformers pipeline, and a `post` that says when it is not sure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock import model_type

#: Below this score no language is named.
SURE = 0.5


def post(result: list[dict[str, Any]], input_data: list[str]) -> list[dict[str, Any]]:
    """One object for each text, in their order."""
    return [
        {
            "text": text,
            "language": found["label"] if found["score"] >= SURE else None,
            "score": round(found["score"], 3),
        }
        for text, found in zip(input_data, result, strict=True)
    ]


def flow(folder: Path) -> list[tuple[Any, ...]]:
    """The stage, with the model in `folder`."""
    pipeline = {"task": "text-classification", "model": str(folder), "truncation": True}
    return [(model_type.HUGGINGFACE_PIPELINE, pipeline, {"post": post})]
