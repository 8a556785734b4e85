"""What to do, from what uv and libraries said. The texts are theirs, as they printed them."""

from __future__ import annotations

import pytest

from penstock.environments.explain import build_hint, import_hint, reason


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "Because a==1 depends on b<2 and you require b>=2, … error: No solution found",
            "loosen one of the versions",
        ),
        ("Because nosuch was not found in the package registry and you", "Check name and version"),
        ("Because x==1 has no wheels with a matching Python ABI tag", "another python_version"),
        ("hint: Wheels are required for `x` because … `--no-build`", "PENSTOCK_PACKAGE_BUILDS=on"),
        ("Caused by: error sending request for url (https://i)", "PENSTOCK_PACKAGE_INDEX"),
        ("invalid peer certificate: UnknownIssuer", "PENSTOCK_PACKAGE_CERT"),
        ("Network connectivity is disabled, but the requested data", "PENSTOCK_PACKAGE_FOLDERS"),
        ("failed to copy: No space left on device (os error 28)", "Free some space"),
        ("something nobody has seen before", "Correct the requirements"),
    ],
)
def test_a_failed_build_comes_with_what_to_change(said: str, advice: str) -> None:
    assert advice in build_hint(said, "3.12")


def test_the_reason_leaves_out_what_went_well_before() -> None:
    lines = ["Resolved 4 packages in 3ms", "Downloading numpy (15MiB)", "", "error: Failed",
             "  cause: because"]  # fmt: skip
    assert reason(lines) == "error: Failed\n  cause: because"


@pytest.mark.parametrize(
    ("user", "kind", "text", "missing", "advice"),
    [
        ("cv2", "ModuleNotFoundError", "", "cv2", '"opencv-python-headless"'),
        ("lib.part", "ModuleNotFoundError", "", "yaml", 'Add "pyyaml" to yours'),
        ("chitra.image", "ModuleNotFoundError", "", "requests", '"chitra", "requests", "numpy<2"'),
        ("a", "AttributeError", "`np.sctypes` was removed in the NumPy 2.0 release.", None,
         "numpy<2"),
        ("a", "ValueError", "numpy.dtype size changed, may indicate", None, "numpy<2"),
        ("a", "AttributeError", "module 'numpy' has no attribute 'int'", None, "numpy<1.24"),
        ("cv2", "ImportError", "libGL.so.1: cannot open shared object file", None,
         "opencv-python-headless"),
        ("a", "ImportError", "libfoo.so.2: cannot open shared object file", None, "libfoo.so.2"),
    ],
)  # fmt: skip
def test_a_library_that_does_not_work_comes_with_what_to_add(
    user: str, kind: str, text: str, missing: str | None, advice: str
) -> None:
    assert advice in str(import_hint(user, kind, text, missing=missing))


def test_an_unknown_failure_gets_no_made_up_advice() -> None:
    assert import_hint("a", "RuntimeError", "odd", missing=None) is None
