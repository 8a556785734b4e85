"""SAFETENSORS: weights in a `.safetensors` file, for a module that the stage's `model` makes.

The file holds numbers and nothing else. The module comes from the user's own class or function,
which travels by value as processing functions do: `(model_type.SAFETENSORS, path, {"model": Net})`.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.loaders.base import ModelFile

if TYPE_CHECKING:
    from penstock.loaders.torch import TorchModel


def load(file: ModelFile, model_type: ModelType, threads: int) -> TorchModel:
    """Return the module with the weights in `file`; sets the process's torch threads.

    Raises:
        LoadFailed: Not a safetensors file, or its weights are not those of the module.
    """
    import safetensors
    import safetensors.torch

    from penstock.loaders.torch import ready

    try:
        weights = safetensors.torch.load_file(str(file.path))
    except safetensors.SafetensorError as error:
        raise LoadFailed(
            f"{file.name} is not a safetensors file: {error}",
            type="SafetensorError",
            hint='Save the weights with safetensors.torch.save_model(model, "model.safetensors").',
        ) from error
    return ready(filled(file, model_type, weights), "safetensors", threads)


def filled(file: ModelFile, model_type: ModelType, weights: dict[str, Any]) -> Any:
    """Return the module that the stage's `model` makes, with these weights.

    Raises:
        LoadFailed: There is no `model`, it raises, makes no module, or one of other weights.
    """
    import torch

    if file.build is None:
        raise LoadFailed(
            f"{file.name} holds weights only; {model_type.name} needs what makes the module.",
            hint='Give the stage {"model": Net}, a class or function without arguments that '
            "returns the nn.Module.",
        )
    name = str(getattr(file.build, "__name__", "model"))
    try:
        module = file.build()
    except Exception as error:
        raise LoadFailed(
            f"{name}() raised {type(error).__name__}: {error}",
            function="model",
            type=type(error).__name__,
            traceback=traceback.format_exc(),
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise LoadFailed(
            f"{name}() returned a {type(module).__name__}, not a torch.nn.Module.", function="model"
        )
    _fill(file, name, module, weights)
    return module


def _fill(file: ModelFile, name: str, module: Any, weights: dict[str, Any]) -> None:
    shared = _shared_names(module)
    try:
        found = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise LoadFailed(
            f"The weights in {file.name} have other shapes than those of {name}(): "
            f"{' '.join(lines)[:400]}",
            hint="Make the module as it was when the weights were saved.",
        ) from None
    # Of weights that several names share, a file holds one.
    missing = [key for key in found.missing_keys if not shared.get(key, set()) & set(weights)]
    if missing or found.unexpected_keys:
        parts = [f"without {', '.join(missing[:3])}"] if missing else []
        odd = found.unexpected_keys
        parts += [f"with {', '.join(odd[:3])}, which the module does not have"] if odd else []
        raise LoadFailed(
            f"{file.name} does not hold the weights of {name}(): it is {' and '.join(parts)}.",
            hint="Make the module as it was when the weights were saved.",
        )


def _shared_names(module: Any) -> dict[str, set[str]]:
    """Return for every weight the names that share its memory."""
    by_memory: dict[int, set[str]] = {}
    state = module.state_dict(keep_vars=True)
    for key, tensor in state.items():
        by_memory.setdefault(id(tensor), set()).add(key)
    return {key: by_memory[id(tensor)] for key, tensor in state.items()}
