"""TORCH: TorchScript files and pickled modules, called in evaluation and inference mode.

What the file holds decides how it is read, not its suffix: a TorchScript archive goes through
`torch.jit.load`, one of `torch.export` through `torch.export.load`, an archive of `torch.save`
through `torch.load`, anything else is unpickled. Weights alone are loaded as nothing but numbers
into the module that the stage's `model` makes.
Floating point inputs are converted to the dtype of the model's own parameters by the flow.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from typing import Any

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType
from penstock.loaders.base import (
    ModelFile,
    Takes,
    TensorSpec,
    library_text,
    read_pickle,
    wrong_content,
)

_STATE_DICT_HINT = (
    'Give the stage {"model": Net}, what makes the module for these weights, or save the whole '
    "model instead: torch.jit.script(model).save('model.pt'), or cloudpickle.dump(model, "
    "open('model.pkl', 'wb'))."
)


class TorchModel:
    """A module in evaluation mode. Takes one tensor, returns what the module returns."""

    takes: Takes = "tensor"
    #: Matrix products add up in another order for another number of rows.
    exact = False

    def __init__(self, module: Any, form: str, shape: tuple[int | None, ...] | None = None) -> None:
        import torch

        self._module = module
        self._form = form
        self.joinable = shape is None or shape[:1] == (None,)
        #: A pickled module may have any code in its `forward`.
        self.only_library = form in {"TorchScript", "torch.export"} or _is_built_in(module)
        self._tensor: Any = torch.Tensor
        self._inference: Any = _inference_guard(torch)
        self._call = _fastest_call(module, torch)
        self._parameters = list(module.parameters())
        floats = [p.dtype for p in self._parameters if p.dtype.is_floating_point]
        self.float_dtype: Any = floats[0] if floats else torch.float32
        self.inputs = (TensorSpec(dtype=str(self.float_dtype).removeprefix("torch."), shape=shape),)

    def predict(self, value: Any) -> Any:
        """Return the module's output for one tensor, computed in inference mode."""
        with self._inference(True):
            return self._call(value)

    def hand_out(self, output: Any) -> Any:
        """Return ordinary tensors: inference tensors may not be changed in place."""
        if isinstance(output, self._tensor):
            return output.clone()
        if isinstance(output, dict):
            return {key: self.hand_out(value) for key, value in output.items()}
        if type(output) in (list, tuple):
            return type(output)(self.hand_out(value) for value in output)
        return output

    def describe(self) -> dict[str, Any]:
        """Return library, form of the file, parameter count and dtype."""
        return {
            "library": library_text("torch"),
            "form": self._form,
            "parameters": sum(p.numel() for p in self._parameters),
            "inputs": [spec.facts() for spec in self.inputs],
        }


def load(file: ModelFile, model_type: ModelType, threads: int) -> TorchModel:
    """Return the module in `file`; sets the process's torch threads to `threads`.

    Raises:
        LoadFailed: The file holds no module, for example only its state_dict.
    """
    import torch

    run_without_profiling(torch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, form = _read(file, torch)
    if form == "torch.export":
        torch.set_num_threads(threads)
        return TorchModel(module.module(), form, _exported_shape(file, module))
    if file.build is not None and isinstance(module, dict):
        from penstock.loaders.safetensors import filled

        module, form = filled(file, model_type, module), "weights"
    if isinstance(module, dict):
        keys = ", ".join(repr(key) for key in list(module)[:3])
        raise LoadFailed(
            f"{file.name} holds a state_dict or checkpoint ({keys}, …), not a model.",
            hint=_STATE_DICT_HINT,
        )
    if not isinstance(module, torch.nn.Module):
        raise wrong_content(file, model_type, module, "a torch.nn.Module")
    return ready(module, form, threads)


def ready(module: Any, form: str, threads: int) -> TorchModel:
    """Return a module as a model in evaluation mode; sets the process's torch threads."""
    import torch

    torch.set_num_threads(threads)
    module.eval()
    return TorchModel(module, form)


def _read(file: ModelFile, torch: Any) -> tuple[Any, str]:
    members = _zip_members(file)
    if any(name.endswith("/constants.pkl") for name in members):
        return torch.jit.load(str(file.path), map_location="cpu"), "TorchScript"
    if any(name.endswith("/models/model.json") for name in members):
        with file.path.open("rb") as opened:
            return torch.export.load(opened), "torch.export"
    if members:
        if not any(name.endswith("/data.pkl") for name in members):
            raise LoadFailed(
                f"{file.name} is an archive, but neither TorchScript nor of torch.save.",
                hint=_STATE_DICT_HINT,
            )
        only = file.build is not None
        return torch.load(str(file.path), map_location="cpu", weights_only=only), "torch.save"
    try:
        return read_pickle(file), "pickle"
    except LoadFailed as error:
        error.hint = error.hint if "pickle file" not in error.message else _STATE_DICT_HINT
        raise


def _exported_shape(file: ModelFile, program: Any) -> tuple[int | None, ...]:
    """Return the shape of an exported program's one input, None for axes that may vary."""
    names = program.graph_signature.user_inputs
    nodes = {node.name: node.meta.get("val") for node in program.graph.nodes}
    shape = getattr(nodes.get(names[0]), "shape", None) if len(names) == 1 else None
    if shape is None:
        raise LoadFailed(
            f"{file.name} takes {len(names)} inputs; TORCH gives a model one tensor.",
            hint="Export a module whose forward takes one tensor, or convert it to ONNX.",
        )
    return tuple(axis if type(axis) is int else None for axis in shape)


def run_without_profiling(torch: Any) -> None:
    """Turn TorchScript's profiling runs off for this process.

    They make the first call of a small network take 37 ms instead of 2, and later calls of these
    networks no faster; the answers are the same bits.
    """
    set_mode = getattr(torch._C, "_jit_set_profiling_mode", None)  # noqa: SLF001
    if set_mode is not None:
        set_mode(False)


def _zip_members(file: ModelFile) -> list[str]:
    if not zipfile.is_zipfile(file.path):
        return []
    with zipfile.ZipFile(file.path) as archive:
        return archive.namelist()


def _inference_guard(torch: Any) -> Any:
    """Return the guard behind `torch.inference_mode`: the wrapper costs 3 µs a call."""
    guard = getattr(torch._C, "_InferenceMode", None)  # noqa: SLF001
    if guard is None or not hasattr(guard, "__enter__"):
        return torch.inference_mode
    return guard


def _fastest_call(module: Any, torch: Any) -> Callable[[Any], Any]:
    """Return `forward` itself when nothing hooks into the call, else the module."""
    if not isinstance(module, torch.jit.ScriptModule):
        return module  # type: ignore[no-any-return]
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name, None) for name in hooks):
        return module  # type: ignore[no-any-return]
    return module.forward  # type: ignore[no-any-return]


def _is_built_in(module: Any) -> bool:
    """Whether a module consists of torch's own modules, with nothing hooked into their calls."""
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    return all(
        type(part).__module__.startswith("torch.nn.modules.")
        and "forward" not in vars(part)
        and not any(getattr(part, name, None) for name in hooks)
        for part in module.modules()
    )
