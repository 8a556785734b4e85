"""Model type NEAREST: which known vectors are nearest, for search and few-shot labels.

`(NEAREST, "index.npz")` or `(NEAREST, Index(vectors, labels))` stands in a flow like any stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock import PluginType

#: Written where `model_type.SKLEARN` would be.
NEAREST = PluginType("nearest", suffixes=(".npz",))


@dataclass(frozen=True)
class Index:
    """Known vectors (rows × columns) and the label of each row."""

    vectors: Any
    labels: Any
