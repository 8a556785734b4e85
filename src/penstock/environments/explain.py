"""What to do when an environment cannot be built, or a library does not work inside it.

The words of resolver and library are always shown; this adds what they do not say: which setting,
which requirement. Pure functions over text. Called by `builder`, `try_imports` and
`penstock.control.environments`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.environments.distributions import package_for
from penstock.environments.pypi_names import COMPANIONS

_NETWORK = (
    "error sending request", "dns error", "failed to lookup address", "Could not connect",
    "tcp connect error", "Connection refused", "operation timed out", "Failed to fetch",
)  # fmt: skip

_OFFLINE = ("Network connectivity is disabled", "the network was disabled")
_CERTIFICATE = ("invalid peer certificate", "UnknownIssuer", "certificate verify failed")
_NO_WHEEL = (
    "has no usable wheels", "no wheels with a matching", "has no wheels", "no-build", "no-binary",
    "building source distributions is disabled", "only has wheels for",
    "is not compatible with the current", "no source distribution or binary",
    "no compatible wheels",
)  # fmt: skip
_NOT_FOUND = (
    "was not found in the package registry", "was not found in the provided package locations",
    "there are no versions of", "there is no version of",
)  # fmt: skip
_FULL = ("No space left on device",)
_CONFLICT = ("No solution found",)
_HASH = ("hash mismatch", "Hash mismatch")
_PARSE = ("Couldn't parse requirement", "Failed to parse", "Expected ")

#: What is printed while it works; the reason of a failure comes after it.
_PROGRESS = re.compile(
    r"^\s*(Resolved|Prepared|Installed|Downloading|Downloaded|Using|Building|\+)"
)


def reason(lines: Sequence[str]) -> str:
    """Return what uv said when it failed, without what it said before."""
    said = [line for line in lines if line.strip() and not _PROGRESS.match(line)]
    starts = [n for n, line in enumerate(said) if line.startswith(("error:", "  ×", "Error"))]
    return "\n".join(said[starts[0] :] if starts else said[-10:]).strip()


def build_hint(text: str, python: str) -> str:
    """Return what to do about a failure of uv.

    Args:
        text: What it said.
        python: Version of the environment's interpreter, as in `3.12`.
    """
    joined = " ".join(text.split())
    for needles, advice in _build_advice(python):
        if any(" ".join(needle.split()) in joined for needle in needles):
            return advice
    return "Correct the requirements and deploy again; the version before keeps serving."


def _build_advice(python: str) -> list[tuple[tuple[str, ...], str]]:
    return [
        (_FULL, "Free some space on the server's disk, then deploy again."),
        (
            _OFFLINE,
            "The server works offline and has no such package. Ask its operator to put the wheel "
            "into a folder of PENSTOCK_PACKAGE_FOLDERS, or name a version that is there.",
        ),
        (
            _CERTIFICATE,
            "The server does not trust the index's certificate. Its operator can name the "
            "authority's file with PENSTOCK_PACKAGE_CERT.",
        ),
        (
            _NETWORK,
            "The server cannot reach the package index. Its operator can name another with "
            "PENSTOCK_PACKAGE_INDEX, or a folder of wheels with PENSTOCK_PACKAGE_FOLDERS.",
        ),
        (
            _PARSE,
            'Write a name and, if it matters, a version: "pandas", "scikit-learn==1.5.2".',
        ),
        (
            _NO_WHEEL,
            f"Only wheels are installed, and there is none of that version for Python {python} on "
            "this server. Ask for another version of the package, or for another python_version; "
            "or let the operator allow building with PENSTOCK_PACKAGE_BUILDS=on.",
        ),
        (
            _NOT_FOUND,
            "Check name and version. A package of your own can be given as a wheel: "
            "requirements=['dist/mine-1.0-py3-none-any.whl']; an index of your own is the server's "
            "setting PENSTOCK_PACKAGE_EXTRA_INDEXES.",
        ),
        (
            _CONFLICT,
            "These requirements exclude each other: loosen one of the versions named above.",
        ),
        (_HASH, "A file on the index has changed since it was locked. Give force_rebuild=True."),
    ]


_REMOVED_IN_NUMPY_2 = re.compile(
    r"removed in the NumPy 2\.0|compiled using NumPy 1\.x|_ARRAY_API not found|"
    r"numpy\.dtype size changed|np\.(sctypes|float_|complex_|unicode_|Inf|NaN|product|in1d)\b"
)
_REMOVED_IN_NUMPY_1_24 = re.compile(
    r"module 'numpy' has no attribute '(int|float|bool|object|complex|str|long|unicode)'"
)
_MISSING_SYSTEM_FILE = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


def import_hint(user: str, kind: str, text: str, *, missing: str | None = None) -> str | None:
    """Return what to do when a library cannot be imported, as far as it is known.

    Args:
        user: The module that was asked for.
        kind: Name of the exception's class.
        text: Its text.
        missing: Top-level module that was not found, if that was it.
    """
    top = user.partition(".")[0]
    known = COMPANIONS.get(package_for(top, None), ())
    together = ", ".join(f'"{name}"' for name in (package_for(top, None), *known))
    if kind == "ModuleNotFoundError" and missing:
        package = package_for(missing, None)
        if missing == top:
            return f"Add {together} to requirements."
        advice = f"requirements=[{together}] work." if known else f'Add "{package}" to yours.'
        return f"{top} needs {missing} but does not say so in its own requirements. {advice}"
    if _REMOVED_IN_NUMPY_2.search(text):
        return 'The library was made for NumPy 1: add "numpy<2" to requirements.'
    if _REMOVED_IN_NUMPY_1_24.search(text):
        return 'The library was made for an old NumPy: add "numpy<1.24" to requirements.'
    found = _MISSING_SYSTEM_FILE.search(text)
    if found and found[1].startswith(("libGL", "libgthread", "libSM", "libX")):
        return (
            f"It needs {found[1]}, which belongs to a desktop. Use opencv-python-headless in place "
            "of opencv-python, or install the library on the server's machine."
        )
    if found:
        return f"Install the system library that has {found[1]} on the server's machine."
    return None
