"""HUGGINGFACE_PIPELINE: a pipeline of transformers, with the arguments of its stage.

The stage's own arguments are defaults; those of a call go over them. Pictures and sound may come
as file objects and bytes; see `penstock.loaders.media`.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.core.pipelines import PipelineSource
from penstock.loaders.base import ModelFile, Takes, TensorSpec, library_text
from penstock.loaders.device import torch_device
from penstock.loaders.media import for_each, from_base64, open_image, open_sound, png_text

#: Parts of a pipeline that read pictures, sound or videos.
_READERS = ("image_processor", "feature_extractor", "video_processor", "processor")

#: Names of the first input of models that listen.
_HEARD = frozenset({"input_values", "input_features"})

_UNREACHABLE = ("couldn't connect", "offline mode", "is not a local folder", "Max retries exceeded")


class Prompt(NamedTuple):
    """What a pipeline is called with."""

    data: Any
    parameters: dict[str, Any]


@dataclass(frozen=True)
class PipelineFile(ModelFile):
    """A pipeline whose folders are on this machine, as its stage was written."""

    source: PipelineSource | None = None


class PipelineModel:
    """A pipeline. Takes a `Prompt`; returns what the pipeline returns."""

    takes: Takes = "prompt"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("inputs"),)
    joinable = False
    never_joined = "A pipeline pads what it answers together."
    exact = False

    def __init__(self, pipe: Any, arguments: dict[str, Any]) -> None:
        self._pipe = pipe
        self._arguments = arguments
        self._task = str(pipe.task)
        extractor = getattr(pipe, "feature_extractor", None)
        hears = getattr(pipe.model, "main_input_name", "") in _HEARD
        self._sound_rate = int(getattr(extractor, "sampling_rate", 0) or 0) if hears else 0

    @property
    def reads_media(self) -> bool:
        """Whether it takes anything but text."""
        return any(getattr(self._pipe, name, None) is not None for name in _READERS)

    def predict(self, value: Any) -> Any:
        """Return the pipeline's answer to a `Prompt`."""
        return self._pipe(self._opened(value.data), **value.parameters)

    def hand_out(self, output: Any) -> Any:
        """Return the output: it is fresh."""
        return output

    def view(self, output: Any) -> Any:
        """Return an answer with its pictures as `data:image/png` addresses."""
        return for_each(output, lambda item: png_text(item) if _is_picture(item) else item)

    def is_place(self, text: str) -> bool:
        """Whether a pipeline may take a text for an address to fetch, or a file to read."""
        if not self.reads_media:
            return False
        return text.startswith(("http://", "https://")) or os.path.exists(text[:4096])

    def from_request(self, text: str) -> Any:
        """Return what a text of the request's own data stands for, or None if it may not pass.

        A caller sends a picture or sound itself, as base64. Addresses and paths would have the
        pipeline fetch and read what the caller may not.
        """
        if self._sound_rate or "video" in self._task:
            return from_base64(text)
        return None if self.is_place(text) else text

    def describe(self) -> dict[str, Any]:
        """Return library, task, model class, parameter count, device and the stage's arguments."""
        model = self._pipe.model
        return {
            "library": library_text("transformers"),
            "task": self._task,
            "model": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "device": str(self._pipe.device),
            "arguments": self._arguments,
            "inputs": [spec.facts() for spec in self.inputs],
        }

    def _opened(self, data: Any) -> Any:
        if not self._sound_rate:
            return for_each(data, open_image) if self.reads_media else data
        if isinstance(data, list):
            return [self._opened(item) for item in data]
        return open_sound(data, self._sound_rate)


def load(file: ModelFile, model_type: ModelType, threads: int) -> PipelineModel:
    """Return the pipeline of a stage, on the GPU if this process may use one.

    Args:
        file: The folder of an uploaded pipeline, or a `PipelineFile`.
        model_type: `HUGGINGFACE_PIPELINE`.
        threads: Threads torch may use.

    Raises:
        LoadFailed: Transformers cannot make it; the message has its own words.
    """
    source = getattr(file, "source", None) or PipelineSource.from_folder(file.path)
    # Its own threads do not survive a fork; a worker answers one call at a time anyway.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if threads == 1 else "true")
    import torch
    import transformers

    torch.set_num_threads(threads)
    # A bar is drawn by a thread that stays, and fills the log.
    transformers.utils.logging.disable_progress_bar()
    given = {**source.arguments, **{name: str(path) for name, path in source.folders.items()}}
    if "task" not in given and "model" in source.folders:
        task = _task_of(given["model"], transformers)
        given |= {"task": task} if task else {}
    device = 0 if torch_device() == "cuda" else -1
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        pipe = transformers.pipeline(**given, device=device)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise _failed(source, model_type, error) from error
    return PipelineModel(pipe, dict(source.arguments))


def _task_of(folder: str, transformers: Any) -> str | None:
    """Return the task of the model class that the folder's config names; None if there is no one.

    Transformers itself asks the Hub, where a folder is not known.
    """
    with suppress(Exception):
        config = transformers.AutoConfig.from_pretrained(folder)
        wanted = set(config.architectures or ())
        for task, facts in transformers.pipelines.SUPPORTED_TASKS.items():
            for auto in facts["pt"]:
                classes = auto._model_mapping.get(type(config), ())  # noqa: SLF001 - see above
                classes = classes if isinstance(classes, (list, tuple)) else (classes,)
                if wanted.intersection(kind.__name__ for kind in classes):
                    return str(task)
    return None


def _failed(source: PipelineSource, model_type: ModelType, error: Exception) -> LoadFailed:
    text = " ".join(str(error).split())
    hint = None
    if any(words in text for words in _UNREACHABLE):
        names = ", ".join(source.from_hub)
        hint = (
            f"The server must reach the Hub to fetch {names}. Or download it where you are: "
            "pipe.save_pretrained(folder), and give {'task': …, 'model': folder}."
        )
    elif isinstance(error, ImportError):
        hint = "Add the library it names to requirements."
    elif "task" in text and "task" not in source.arguments:
        hint = "Name the task: {'task': 'text-classification', 'model': …}."
    return LoadFailed(
        f"{source.title} cannot be loaded as {model_type.name}: {type(error).__name__}: "
        f"{text[:600]}",
        type=type(error).__name__,
        hint=hint,
    )


def _is_picture(value: Any) -> bool:
    return hasattr(value, "save") and hasattr(value, "getbands")
