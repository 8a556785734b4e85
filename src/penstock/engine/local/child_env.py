"""The environment variables that zygote and workers get: an allow-list, plus our own tuning.

Keys and secrets of the server must not reach user code, so nothing is passed on that is not named
here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_NAMES = frozenset(
    {
        "DYLD_LIBRARY_PATH", "HF_HOME", "HOME", "HTTPS_PROXY", "HTTP_PROXY", "KERAS_BACKEND",
        "KERAS_HOME", "LANG", "LANGUAGE",
        "LD_LIBRARY_PATH", "LD_PRELOAD", "LOGNAME", "NO_PROXY", "PATH", "PYTHONHASHSEED",
        "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "PYTHONWARNINGS", "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TORCH_HOME", "TZ", "USER", "VIRTUAL_ENV",
        "http_proxy", "https_proxy", "no_proxy",
    }
)  # fmt: skip
_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "XDG_")

#: What chooses the kernels of numeric libraries, and so the last digits of results: a model is to
#: answer in a worker as it does in a process beside the server.
_KERNELS = ("ATEN_", "CUBLAS_", "DNNL_", "MKL_", "NPY_", "ONEDNN_", "OPENBLAS_")

#: One thread while importing keeps the zygote forkable; Arrow's allocator would start one wherever
#: pyarrow is installed, for pandas imports it, and scikit-learn and XGBoost import pandas. The
#: allocator settings keep the large blocks of tensors and images in the heap instead of mapping and
#: unmapping them per call.
_TUNING = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "PYTHONSAFEPATH": "1",
    # Whether there is a GPU is asked without opening it, which must not happen before a fork.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}


#: What belongs to the server's own interpreter and libraries and would mislead others: the
#: backend of Keras that the server has need not be in a version's environment.
_OWN = frozenset({"KERAS_BACKEND", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE"})


def child_environment(own: Mapping[str, str], python: Path | None = None) -> dict[str, str]:
    """Return the environment for a child of a process that has `own`.

    Args:
        own: The environment variables of this process.
        python: Interpreter of the virtual environment that the child runs in, if it is another
            than this process's.
    """
    kept = {k: v for k, v in own.items() if k in _NAMES or k.startswith(_PREFIXES + _KERNELS)}
    if python is not None:
        for name in _OWN:
            kept.pop(name, None)
        kept["VIRTUAL_ENV"] = str(python.parents[1])
        kept["PATH"] = os.pathsep.join(filter(None, [str(python.parent), kept.get("PATH")]))
    return {**kept, **_TUNING}
