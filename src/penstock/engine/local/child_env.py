"""The environment variables that zygote and workers get: an allow-list, plus our own tuning.

Keys and secrets of the server must not reach user code, so nothing is passed on that is not named
here.
"""

from __future__ import annotations

from collections.abc import Mapping

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
}


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child of a process that has `own`."""
    kept = {k: v for k, v in own.items() if k in _NAMES or k.startswith(_PREFIXES)}
    return {**kept, **_TUNING}
