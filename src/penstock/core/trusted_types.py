"""Classes of scikit-learn that skops does not list as harmless, and that are.

skops asks about every class it does not know. These are compiled or private parts of ordinary
estimators, such as the trees of a forest: making one from numbers runs no code of the file. Used
where `.skops` files are written (`penstock.client.live`) and read (`penstock.loaders.skops`).
"""

from __future__ import annotations

from collections.abc import Iterable

_HOMES = (
    "sklearn._loss.",
    "sklearn.calibration._",
    "sklearn.ensemble._hist_gradient_boosting.",
    "sklearn.metrics._dist_metrics.",
    "sklearn.neighbors._ball_tree.",
    "sklearn.neighbors._kd_tree.",
    "sklearn.neural_network._stochastic_optimizers.",
    "sklearn.tree._tree.Tree",
)


def untrusted(names: Iterable[str]) -> list[str]:
    """Return those of the dotted names that are not known to be harmless, sorted.

    Only classes are: their names begin with a capital letter, those of functions do not.
    """
    return sorted(name for name in names if not _is_harmless(name))


def _is_harmless(name: str) -> bool:
    last = name.rpartition(".")[2].lstrip("_")
    return name.startswith(_HOMES) and last[:1].isupper()
