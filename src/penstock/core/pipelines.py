"""What a HUGGINGFACE_PIPELINE stage holds: the arguments of `transformers.pipeline`.

Arguments that name folders of the user's machine are kept apart: the folders travel, everything
else is JSON. `penstock.core.flow` parses a stage with this; the client, and the loader in a worker,
read the result. Inside a bundle the stage is a folder: `pipeline.json`, written by `to_json`, with
a subfolder for each folder argument.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.core.errors import InvalidManifest, InvalidStage, MissingModelFile

#: The file of a pipeline's folder that holds its arguments.
ARGUMENTS_FILE = "pipeline.json"

#: Arguments that are a model or a part of one: a name on the Hub, or a folder.
COMPONENTS = frozenset(
    {"model", "config", "tokenizer", "feature_extractor", "image_processor", "video_processor",
     "processor", "assistant_model"}
)  # fmt: skip

#: The server chooses where a model runs.
_PLACES = frozenset({"device", "device_map"})

_FORM = '{"task": "text-generation", "model": "folder", "max_new_tokens": 100}'


@dataclass(frozen=True)
class PipelineSource:
    """The arguments of a pipeline.

    Attributes:
        arguments: Those that are JSON values. Parts of the model are names on the Hub here.
        folders: Those that are folders of this machine.
    """

    arguments: Mapping[str, Any]
    folders: Mapping[str, Path]

    @property
    def title(self) -> str:
        """What people call it: the task, and the name of the model."""
        model = self.folders.get("model")
        name = model.name if model is not None else self.arguments.get("model")
        return " ".join(str(part) for part in (self.arguments.get("task"), name) if part)

    @property
    def from_hub(self) -> list[str]:
        """Return the names on the Hub that are fetched when the stage is loaded."""
        names = [v for k, v in self.arguments.items() if k in COMPONENTS and isinstance(v, str)]
        if not names and "model" not in self.folders:
            return ["the usual model of the task"]
        return names

    @property
    def code(self) -> str:
        """Why making the pipeline runs code of the model's, as words; empty if it does not."""
        return next(_code_in(self.arguments), "")

    def to_json(self) -> bytes:
        """Return the arguments and the names of the folder arguments."""
        told = {"arguments": dict(self.arguments), "folders": sorted(self.folders)}
        return json.dumps(told, sort_keys=True).encode()

    @classmethod
    def from_folder(cls, folder: Path) -> PipelineSource:
        """Return what `to_json` wrote into the folder's `pipeline.json`.

        Raises:
            InvalidManifest: There is no such file, or it holds something else.
        """
        return cls.from_file(folder / ARGUMENTS_FILE, folder)

    @classmethod
    def from_file(cls, path: Path, folder: Path) -> PipelineSource:
        """Return what `to_json` wrote into a file; its folders are below `folder`.

        Raises:
            InvalidManifest: The file cannot be read, or holds something else.
        """
        try:
            told = json.loads(path.read_bytes())
            arguments, names = dict(told["arguments"]), [str(name) for name in told["folders"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidManifest(
                f"The pipeline's {ARGUMENTS_FILE} cannot be read: {error}."
            ) from None
        if not COMPONENTS.issuperset(names):
            raise InvalidManifest(f"{ARGUMENTS_FILE} names folders that no argument takes: {names}")
        return cls(arguments, {name: folder / name for name in names})


def _code_in(value: Any) -> Iterator[str]:
    """Return why arguments, however deep, have the library run code that is beside a model."""
    if isinstance(value, Mapping):
        if value.get("trust_remote_code"):
            yield "trust_remote_code runs the code beside the model"
        if value.get("custom_generate"):
            yield "custom_generate runs code that is beside a model"
        for inner in value.values():
            yield from _code_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _code_in(inner)


def parse_pipeline(number: int, given: object) -> PipelineSource:
    """Return the pipeline of stage `number`.

    Args:
        number: Stage number, from 1.
        given: Arguments of `transformers.pipeline` as a dict, with `task` or `model` or both; or
            the path of a model's folder.

    Raises:
        InvalidStage: It is of another kind, or an argument cannot travel.
        MissingModelFile: A folder is not there.
    """
    if isinstance(given, (str, os.PathLike)):
        given = {"model": Path(given)}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise _wrong(number, f"the model is a {type(given).__name__}", f"Give a dict: {_FORM}.")
    if not given.get("task") and not given.get("model"):
        raise _wrong(number, "the arguments name neither a task nor a model", f"Write {_FORM}.")
    arguments: dict[str, Any] = {}
    folders: dict[str, Path] = {}
    for name, value in given.items():
        if name in _PLACES or value is None:
            continue
        folder = _folder(number, name, value) if name in COMPONENTS else None
        if folder is not None:
            folders[name] = folder
        else:
            arguments[name] = _plain(number, name, value)
    return PipelineSource(arguments, folders)


def _wrong(number: int, what: str, hint: str) -> InvalidStage:
    text = f"Stage {number} (HUGGINGFACE_PIPELINE): {what}."
    return InvalidStage(text, stage=number, hint=hint)


def _folder(number: int, name: str, value: object) -> Path | None:
    """Return the folder that an argument names; None for a name on the Hub."""
    if not isinstance(value, (str, os.PathLike)):
        return None
    path = Path(value).expanduser()
    if path.is_dir():
        return path
    if isinstance(value, str) and not _looks_local(value):
        return None
    found = "is a file, not a folder" if path.is_file() else "is not there"
    raise MissingModelFile(
        f"Stage {number} (HUGGINGFACE_PIPELINE): the folder {str(value)!r} of {name!r} {found} "
        f"(looked in {Path.cwd()}).",
        stage=number,
        hint="Save the pipeline with pipe.save_pretrained(folder) and give that folder.",
    )


def _looks_local(text: str) -> bool:
    """Whether a text can only be a path: names on the Hub are `name` or `owner/name`."""
    return text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text


def _plain(number: int, name: str, value: Any) -> Any:
    """Return an argument as JSON values; dtypes of torch become their names."""
    if name in {"token", "use_auth_token"} and isinstance(value, str):
        raise _wrong(
            number,
            f"{name!r} is a secret, and arguments are kept with the version for people to read",
            "Download the model with your token and give its folder as 'model'.",
        )
    if hasattr(value, "save_pretrained"):
        raise _wrong(
            number,
            f"{name!r} is a {type(value).__name__}, not a folder",
            f"Save it with save_pretrained(folder) and give the folder as {name!r}.",
        )
    if isinstance(value, Mapping):
        return {str(key): _plain(number, f"{name}[{key!r}]", v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(number, f"{name}[{i}]", v) for i, v in enumerate(value)]
    if type(value).__name__ == "dtype":
        return str(value).removeprefix("torch.")
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    raise _wrong(
        number,
        f"the argument {name!r} is a {type(value).__name__}, which cannot travel",
        "Arguments are texts, numbers, lists and dicts.",
    )
