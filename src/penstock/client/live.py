"""Saves models that are given as objects, each in the safest format that its library has.

Called while a flow is deployed or loaded here. A format that holds no code comes first; only what
has none is pickled, by value, so that classes of the user's script travel along.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from penstock.core.branches import BranchStage
from penstock.core.errors import InvalidStage, PenstockError
from penstock.core.flow import Flow, Stage
from penstock.core.model_types import PLUGIN_GROUP, ModelType, PluginType
from penstock.core.numbers import InBranch, place
from penstock.core.trusted_types import untrusted

Save = Callable[[Any, Path], Path]


@contextmanager
def saved(flow: Flow, modules: Collection[str] | None = None) -> Iterator[Flow]:
    """Give `flow` with every object saved in a temporary file that lasts as long as the `with`.

    Args:
        flow: The flow.
        modules: Top-level modules that the server has, where it matters for the format.

    Raises:
        InvalidStage: An object cannot be saved; `stage` says which.
    """
    if not any(stage.is_live for _, stage in flow.models()):
        yield flow
        return
    with tempfile.TemporaryDirectory(prefix="penstock-models-") as folder:
        yield replace(flow, stages=_saved_stages(flow.stages, int, Path(folder), modules))


def saved_in(flow: Flow, folder: Path) -> Flow:
    """Return `flow` with every object saved in `folder`, which is made if there is one to save.

    Raises:
        InvalidStage: An object cannot be saved; `stage` says which.
    """
    if not any(stage.is_live for _, stage in flow.models()):
        return flow
    folder.mkdir(parents=True, exist_ok=True)
    return replace(flow, stages=_saved_stages(flow.stages, int, folder, None))


def _saved_stages(
    stages: Sequence[Stage | BranchStage],
    number_of: Callable[[int], int],
    folder: Path,
    modules: Collection[str] | None,
) -> tuple[Stage | BranchStage, ...]:
    made: list[Stage | BranchStage] = []
    for own, stage in enumerate(stages, 1):
        number = number_of(own)
        if isinstance(stage, BranchStage):
            branches = tuple(
                replace(
                    b,
                    stages=_saved_stages(
                        b.stages, partial(InBranch, number, b.name), folder, modules
                    ),
                )
                for b in stage.branches
            )
            made.append(replace(stage, branches=branches))
            continue
        if not stage.is_live:
            made.append(stage)
            continue
        home = folder / place(number)
        home.mkdir(exist_ok=True)
        made.append(_saved_stage(number, stage, home, modules))
    return tuple(made)


def _saved_stage(number: int, stage: Stage, folder: Path, modules: Collection[str] | None) -> Stage:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = _saver(stage, modules)(stage.source, folder / type(stage.source).__name__)
    except PenstockError:
        raise
    except Exception as error:
        raise InvalidStage(
            f"Stage {number} ({stage.model_type.name}): the {stage.title} cannot be saved: "
            f"{type(error).__name__}: {str(error).strip()[:600].removesuffix('.')}.",
            stage=number,
            hint="Save it yourself and give the path of the file.",
        ) from error
    return replace(stage, source=path)


def _saver(stage: Stage, modules: Collection[str] | None) -> Save:
    kind = stage.model_type
    if isinstance(kind, PluginType):
        return _plugin_saver(kind)
    if kind in {ModelType.SKLEARN, ModelType.SKLEARN_CLASSIFIER, ModelType.SKLEARN_PREPROCESSOR}:
        readable = find_spec("skops") is not None and (modules is None or "skops" in modules)
        return _estimator if readable else _pickle
    if kind is ModelType.TORCH and stage.build is not None:
        return _weights_archive
    return _SAVERS[kind]


def _plugin_saver(kind: PluginType) -> Save:
    for entry in entry_points(group=PLUGIN_GROUP, name=kind.value):
        save: Save | None = getattr(entry.load(), "save", None)
        if save is not None:
            return save
    raise InvalidStage(
        f"{kind.name} does not save objects.", hint="Save it yourself and give the path."
    )


def _pickle(model: Any, path: Path) -> Path:
    import cloudpickle

    path = path.with_suffix(".pkl")
    path.write_bytes(cloudpickle.dumps(model))
    return path


def _estimator(model: Any, path: Path) -> Path:
    """Save as skops where all it holds is known to be harmless, else as a pickle."""
    import skops.io

    try:
        packed = skops.io.dumps(model)
        unknown = untrusted(skops.io.get_untrusted_types(data=packed))
    except Exception:  # noqa: BLE001 - skops does not know every object; a pickle does
        return _pickle(model, path)
    if unknown:
        return _pickle(model, path)
    path = path.with_suffix(".skops")
    path.write_bytes(packed)
    return path


def _skops(model: Any, path: Path) -> Path:
    import skops.io

    path = path.with_suffix(".skops")
    skops.io.dump(model, path)
    return path


def _xgboost(model: Any, path: Path) -> Path:
    missing = getattr(model, "missing", math.nan)
    if not (missing is None or math.isnan(missing)):
        return _pickle(model, path)  # XGBoost's own files do not say which number is missing
    path = path.with_suffix(".ubj")
    model.save_model(path)
    return path


def _lightgbm(model: Any, path: Path) -> Path:
    path = path.with_suffix(".txt")
    getattr(model, "booster_", model).save_model(str(path))
    return path


def _catboost(model: Any, path: Path) -> Path:
    path = path.with_suffix(".cbm")
    model.save_model(str(path))
    return path


def _module(model: Any, path: Path) -> Path:
    """Save as TorchScript where the module can be compiled, else as a pickle."""
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        path = path.with_suffix(".pt2")
        torch.export.save(model, path)
        return path
    try:
        scripted = torch.jit.script(model)
    except Exception:  # noqa: BLE001 - many modules use more of Python than TorchScript has
        return _pickle(model, path)
    path = path.with_suffix(".pt")
    scripted.save(str(path))
    return path


def _weights_archive(model: Any, path: Path) -> Path:
    import torch

    path = path.with_suffix(".pt")
    torch.save(model.state_dict(), path)
    return path


def _weights(model: Any, path: Path) -> Path:
    import safetensors.torch

    path = path.with_suffix(".safetensors")
    safetensors.torch.save_model(model, str(path))
    return path


def _onnx(model: Any, path: Path) -> Path:
    path = path.with_suffix(".onnx")
    path.write_bytes(model.SerializeToString())
    return path


def _keras(model: Any, path: Path) -> Path:
    path = path.with_suffix(".keras")
    model.save(path)
    return path


def _spacy(model: Any, path: Path) -> Path:
    model.to_disk(path)
    return path


_SAVERS: dict[ModelType, Save] = {
    ModelType.TORCH: _module,
    ModelType.XGBOOST_CLASSIFIER: _xgboost,
    ModelType.XGBOOST_REGRESSOR: _xgboost,
    ModelType.SKOPS: _skops,
    ModelType.LIGHTGBM: _lightgbm,
    ModelType.CATBOOST: _catboost,
    ModelType.ONNX: _onnx,
    ModelType.KERAS: _keras,
    ModelType.SAFETENSORS: _weights,
    ModelType.SPACY: _spacy,
}
