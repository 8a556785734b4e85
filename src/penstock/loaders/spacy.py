"""SPACY: a pipeline in the folder that `nlp.to_disk` wrote, called through `nlp.pipe`.

The model gives `Doc` objects, which a `post` works on. Where no `post` follows, `view` turns them
into plain values, so that one is optional.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.base import ModelFile, Takes, TensorSpec, library_text


class SpacyModel:
    """A pipeline. Takes a list of texts (or `Doc`s); returns one `Doc` for each, in order."""

    takes: Takes = "texts"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("texts", "object", (None,)),)
    joinable = True
    #: Trained components multiply matrices, which add up in another order for more rows.
    exact = False

    def __init__(self, nlp: Any, notes: list[str]) -> None:
        self._nlp = nlp
        self._notes = notes
        self.max_length = int(nlp.max_length)

    def predict(self, value: Any) -> Any:
        """Return a list of `Doc`s for a list of texts, computed as batches of the pipeline."""
        return list(self._nlp.pipe(value))

    def hand_out(self, output: Any) -> Any:
        """Return the output: its documents are fresh."""
        return output

    def view(self, output: Any) -> list[dict[str, Any]]:
        """Return documents as plain values: spaCy's own JSON form, with the words written out."""
        return [_view(doc) for doc in output]

    def comparable(self, output: Any) -> list[Any]:
        """Return values that tell whether two outputs are the same."""
        return [_apart(doc if isinstance(doc, dict) else _view(doc)) for doc in output]

    def describe(self) -> dict[str, Any]:
        """Return library, language, components and the labels they know."""
        meta = self._nlp.meta
        facts: dict[str, Any] = {
            "library": library_text("spacy"),
            "pipeline": f"{meta.get('lang')}_{meta.get('name')} {meta.get('version')}",
            "components": list(self._nlp.pipe_names),
            "labels": {name: list(known) for name, known in self._nlp.pipe_labels.items() if known},
            "inputs": [spec.facts() for spec in self.inputs],
        }
        if self._notes:
            facts["warnings"] = self._notes
        return facts


def load(file: ModelFile, model_type: ModelType, threads: int) -> SpacyModel:
    """Return the pipeline in a folder; torch inside it gets `threads` threads.

    Raises:
        LoadFailed: Not a folder of `nlp.to_disk`, or it needs a component or language that is not
            installed.
    """
    import spacy

    if not (file.path / "config.cfg").is_file():
        raise LoadFailed(
            f"{file.name} is not a spaCy pipeline: it has no config.cfg.",
            hint=_inner_hint(file.path) or "Save it with nlp.to_disk(folder).",
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            nlp = spacy.load(file.path)
        except (ValueError, OSError, ImportError) as error:
            raise _failed(file, model_type, error) from error
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    # Some warnings come once per component and load; one line each is enough.
    notes = [f"{w.category.__name__}: {' '.join(str(w.message).split())}" for w in caught]
    return SpacyModel(nlp, list(dict.fromkeys(notes)))


def _view(doc: Any) -> dict[str, Any]:
    told: dict[str, Any] = doc.to_json()
    text = told["text"]
    pieces = [*told["tokens"], *told.get("ents", ())]
    for spans in told.get("spans", {}).values():
        pieces += spans
    for piece in pieces:
        piece["text"] = text[piece["start"] : piece["end"]]
    if "cats" in told:
        told["cats"] = {label: np.float32(score) for label, score in told["cats"].items()}
    return told


def _apart(view: dict[str, Any]) -> dict[str, Any]:
    """Return a view with its scores as one array: they are compared by the size of the largest."""
    scores = view.get("cats")
    return view if scores is None else {**view, "cats": np.array(list(scores.values()))}


def _inner_hint(folder: Path) -> str | None:
    """Return where the pipeline is when the folder of a package was given."""
    found = next(iter(sorted(folder.glob("*/config.cfg"))), None)
    if found is None:
        return None
    return f"Give its subfolder {found.parent.name!r}, or save it with nlp.to_disk(folder)."


def _failed(file: ModelFile, model_type: ModelType, error: Exception) -> LoadFailed:
    text = " ".join(str(error).split())
    hint = "Train and serve with the same version of spaCy."
    if "[E002]" in text:
        hint = (
            "The pipeline has a component of your own or of a package. Add the package to "
            "requirements, or put the component in a module beside your code and use that module "
            "in a function of the stage, so that it travels and is imported before the pipeline."
        )
    elif "[E048]" in text or isinstance(error, ModuleNotFoundError):
        hint = "Add the package it names to requirements."
    return LoadFailed(
        f"{file.name} cannot be loaded as {model_type.name}: {type(error).__name__}: {text[:600]}",
        type=type(error).__name__,
        hint=hint,
    )
