"""Imports Keras, which has to know its backend before. A zygote imports this module ahead.

`KERAS_BACKEND` names the backend; without it the first installed of torch, jax and tensorflow is
taken.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

BACKENDS = ("torch", "jax", "tensorflow")


def _choose() -> str:
    named = os.environ.get("KERAS_BACKEND")
    return named or next((name for name in BACKENDS if find_spec(name) is not None), "")


#: The backend; empty where none is installed.
NAME = _choose()

if NAME:
    os.environ["KERAS_BACKEND"] = NAME
    import_module("keras")
