"""Runs a flow in this process, with the code the server's workers run.

Used by `Conduit.load` and `Conduit.run`, and by `deploy` to learn what the answer to the example
should be before anything is uploaded. The flow runtime is imported on first use.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import TYPE_CHECKING, Any

from penstock.client.live import saved
from penstock.client.options import Options
from penstock.core.errors import MissingFramework, PenstockError, SecretMissing
from penstock.core.flow import Flow, ModelType
from penstock.core.model_types import AnyType

if TYPE_CHECKING:
    from penstock.flow.local import LocalFlow

#: Module and extra that each model type needs.
_NEEDS: dict[ModelType, tuple[str, str]] = {
    ModelType.TORCH: ("torch", "torch"),
    ModelType.XGBOOST_CLASSIFIER: ("xgboost", "xgboost"),
    ModelType.XGBOOST_REGRESSOR: ("xgboost", "xgboost"),
    ModelType.SKLEARN: ("sklearn", "sklearn"),
    ModelType.SKLEARN_CLASSIFIER: ("sklearn", "sklearn"),
    ModelType.SKLEARN_PREPROCESSOR: ("sklearn", "sklearn"),
    ModelType.SKOPS: ("skops", "skops"),
    ModelType.LIGHTGBM: ("lightgbm", "lightgbm"),
    ModelType.CATBOOST: ("catboost", "catboost"),
    ModelType.ONNX: ("onnxruntime", "onnx"),
    ModelType.KERAS: ("keras", "keras"),
    ModelType.SAFETENSORS: ("safetensors", "safetensors"),
    ModelType.TENSORFLOW: ("tensorflow", "tensorflow"),
    ModelType.SPACY: ("spacy", "spacy"),
    ModelType.HUGGINGFACE_PIPELINE: ("transformers", "transformers"),
    ModelType.MLFLOW: ("mlflow", "mlflow"),
    ModelType.PYTHON: ("sys", ""),
}

#: What was raised where a library or a secret is missing.
_MISSING = frozenset({"ImportError", "ModuleNotFoundError", "SecretMissing"})

#: How far two numbers may be apart to count as the same: relative to the larger, and at least.
RELATIVE, ABSOLUTE = 1e-4, 1e-6


def load_here(
    flow: Flow, threads: int = 1, *, on_gpu: bool = False, pair_files: bool = False
) -> LocalFlow:
    """Return `flow` with its models loaded in this process, its `setup` functions called.

    With `on_gpu` models are put on a GPU, where there is one.

    Raises:
        MissingFramework: A model's library is not installed here.
        PenstockError: A model file cannot be loaded.
    """
    for number, stage in flow.models():
        module, extra = needs(stage.model_type)
        if module not in sys.modules and importlib.util.find_spec(module) is None:
            raise MissingFramework(
                f"Stage {number} ({stage.model_type.name}) needs {module}, which is not installed "
                "here.",
                stage=number,
                hint=f'Run: pip install "penstock[{extra}]". The server has its own.',
            )
    if importlib.util.find_spec("numpy") is None:
        raise MissingFramework(
            "Running a flow in this process needs numpy, which is not installed here.",
            hint="Run: pip install numpy. The server has its own.",
        )
    from penstock.flow.local import LocalFlow

    with saved(flow) as ready:
        return LocalFlow(ready, threads=threads, on_gpu=on_gpu, pair_files=pair_files)


def frameworks_in_use(flow: Flow) -> bool:
    """Whether this process has imported every library that the flow's models need."""
    loaded = all(needs(stage.model_type)[0] in sys.modules for _, stage in flow.models())
    return loaded and importlib.util.find_spec("numpy") is not None


def needs(kind: AnyType) -> tuple[str, str]:
    """Return module and extra; for a type that a package adds, nothing that we know of."""
    return _NEEDS[kind] if isinstance(kind, ModelType) else ("sys", "")


def expected_answer(flow: Flow, options: Options) -> tuple[bool, Any]:
    """Run the example here.

    With `check_locally` a function's import or secret that is missing here is an error; otherwise
    the example is left to the server then.

    Returns:
        Whether there is an answer, and the answer as JSON values.

    Raises:
        PenstockError: The flow fails on its example here.
    """
    try:
        loaded = load_here(flow, options.model_threads, pair_files=options.pair_files)
        return True, loaded.run(options.example, options.example_files)
    except PenstockError as error:
        if options.check_locally or not may_be_there(error):
            raise
        return False, None


def may_be_there(error: PenstockError) -> bool:
    """Whether a flow failed here, in a run or in a `setup`, for want of what a server may have."""
    return isinstance(error, SecretMissing) or error.type in _MISSING


def difference(here: Any, there: Any, path: str = "result") -> str | None:
    """Return where two answers differ, as `result["a"][0]: 1 here, 2 there`; None if they do not.

    Numbers count as the same within 1e-4 of the larger one.
    """
    if isinstance(here, dict) and isinstance(there, dict) and here.keys() == there.keys():
        pairs = ((f"{path}[{key!r}]", here[key], there[key]) for key in here)
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        pairs = ((f"{path}[{i}]", *both) for i, both in enumerate(zip(here, there, strict=True)))
    elif _same(here, there):
        return None
    else:
        return f"{path}: {short(here)} here, {short(there)} on the server"
    found = (difference(a, b, where) for where, a, b in pairs)
    return next((text for text in found if text is not None), None)


def _same(here: Any, there: Any) -> bool:
    numbers = (int, float)
    if isinstance(here, bool) or isinstance(there, bool):
        return here is there
    if isinstance(here, numbers) and isinstance(there, numbers):
        return math.isclose(here, there, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(here) is type(there) and bool(here == there)


def short(value: Any) -> str:
    """Return a value's text, cut to what a line holds."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
