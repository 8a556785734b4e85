"""SKOPS: fitted estimators in `.skops` files, which hold no code.

Loading makes only objects of types that are known to be harmless; a file with any other type is
refused by name. The method is that of the estimator's kind: `predict_proba` for classifiers,
`transform` for transformers, else `predict`. The three SKLEARN types take `.skops` files as well.
"""

from __future__ import annotations

from typing import Any

from penstock.core.errors import LoadFailed
from penstock.core.model_types import ModelType
from penstock.core.trusted_types import untrusted
from penstock.loaders.base import ModelFile


def read(file: ModelFile) -> Any:
    """Return the object in a `.skops` file.

    Raises:
        LoadFailed: It holds types that skops does not trust, or is no such file.
    """
    import zipfile

    import skops.io

    if not zipfile.is_zipfile(file.path):
        raise LoadFailed(
            f"{file.name} is not a file of skops.",
            hint='Save the estimator with skops.io.dump(estimator, "model.skops").',
        )
    asked = skops.io.get_untrusted_types(file=file.path)
    unknown = untrusted(asked)
    if unknown:
        raise LoadFailed(
            f"{file.name} holds types that are not known to be harmless: {', '.join(unknown)}.",
            hint="Save the estimator with pickle and deploy the .pkl file, if you trust its "
            "source.",
        )
    return skops.io.load(file.path, trusted=asked)


def load(file: ModelFile, _model_type: ModelType, threads: int) -> Any:
    """Return the estimator in `file`, limited to `threads` threads.

    Raises:
        LoadFailed: Not a fitted estimator, or it holds types that skops does not trust.
    """
    from penstock.loaders.sklearn import wrap

    estimator = read(file)
    kind = ModelType.SKLEARN
    if hasattr(estimator, "predict_proba"):
        kind = ModelType.SKLEARN_CLASSIFIER
    elif not hasattr(estimator, "predict"):
        kind = ModelType.SKLEARN_PREPROCESSOR
    return wrap(file, estimator, kind, threads, [])
