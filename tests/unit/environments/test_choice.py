"""Which environment a bundle needs, and what goes into it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.codec.bundle import Blob, FunctionEntry, Imported, Manifest, StageEntry
from penstock.core.errors import InterpreterMismatch
from penstock.core.interpreter import Interpreter
from penstock.environments.choice import choose, wanted


def python(minor: str) -> Interpreter:
    return Interpreter("cpython", f"{minor}.1", f"magic-{minor}", "linux-x86_64")


HERE, THERE = python("3.11"), python("3.12")
BLOB = Blob("b", "0" * 64, 1)


def chosen(**options: Any) -> Interpreter | None:
    usual: dict[str, Any] = {"requirements": [], "python": "", "made_by": HERE, "server": HERE}
    return choose(**{**usual, **options})


def test_what_asks_for_nothing_runs_in_the_servers_environment() -> None:
    assert chosen() is None
    assert chosen(made_by=None, others=[THERE]) is None
    assert chosen(python="3.11") is None


def test_requirements_give_an_environment_of_the_servers_python() -> None:
    assert chosen(requirements=["a"], others=[THERE]) is HERE
    assert chosen(requirements=["a"], made_by=None) is HERE


def test_functions_of_another_python_get_an_environment_with_it() -> None:
    assert chosen(made_by=THERE, others=[THERE]) is THERE


def test_a_python_that_is_asked_for_is_taken_where_nothing_holds_bytecode() -> None:
    assert chosen(made_by=None, python="3.12", others=[THERE]) is THERE
    with pytest.raises(InterpreterMismatch, match=r"no such Python; it has 3\.11\.1"):
        chosen(made_by=None, python="3.12")


def test_a_python_that_is_missing_is_refused_with_those_there_are() -> None:
    with pytest.raises(InterpreterMismatch) as caught:
        chosen(made_by=python("3.13"), others=[THERE], what="`pre` of stage 1 is")
    assert "`pre` of stage 1 is made by cpython 3.13.1" in caught.value.message
    assert "3.12.1" in caught.value.message
    assert "install Python 3.13" in str(caught.value.hint)


def test_bytecode_and_another_python_version_exclude_each_other() -> None:
    with pytest.raises(InterpreterMismatch, match=r"Deploy from Python 3\.12"):
        chosen(python="3.12", others=[THERE])


@pytest.mark.parametrize("made_by", [None, HERE])
def test_a_python_that_no_worker_runs_on_is_not_one_to_install(made_by: Any) -> None:
    with pytest.raises(InterpreterMismatch) as caught:
        chosen(python="3.8", made_by=made_by)
    assert "Penstock needs Python 3.10 or newer" in str(caught.value.hint)


def bundle(*imports: Imported, saved: dict[str, str] | None = None, **facts: Any) -> Manifest:
    function = FunctionEntry("f", 1, BLOB, imports=list(imports))
    stage = StageEntry("sklearn", BLOB, pre=function, packages=saved or {})
    packages = {i.distribution: i.version for i in imports if i.distribution and i.version}
    return Manifest(HERE, [stage], packages=packages, cloudpickle="3.1.0", **facts)


def asked(manifest: Manifest, server: dict[str, str] | None = None, **options: Any) -> Any:
    modules = options.pop("modules", [])
    return wanted(manifest, HERE, modules, server or {}, cuda=options.pop("cuda", True))


def test_what_functions_and_models_use_comes_along_in_the_clients_versions() -> None:
    found = asked(
        bundle(Imported("PIL", "pillow", "11.0"), saved={"scikit-learn": "1.2.2"}),
        {"pillow": "12.0", "scikit-learn": "1.9", "joblib": "1.4"},
        modules=["sklearn", "joblib"],
    )
    assert found.libraries == ("joblib", "pillow", "scikit-learn")
    assert found.preferred["pillow"] == "11.0"
    assert found.preferred["scikit-learn"] == "1.2.2"
    assert found.preferred["joblib"] == "1.4"
    assert found.preferred["cloudpickle"] == "3.1.0"


def test_what_the_deployer_names_is_left_to_the_deployer() -> None:
    found = asked(
        bundle(
            Imported("PIL", "pillow", "11.0"), Imported("cv2", "opencv-python", "4.1"),
            requirements=["Pillow<11", "opencv-python-headless"],
        )
    )  # fmt: skip
    assert found.libraries == ()
    assert "pillow" not in found.preferred
    assert found.lines()[:2] == ["Pillow<11", "opencv-python-headless"]


def test_a_server_without_a_device_gets_the_builds_without_cuda() -> None:
    manifest = bundle(Imported("xgboost", "xgboost", "3.0.1"))
    assert asked(manifest, cuda=False).libraries == ("xgboost-cpu",)
    assert asked(manifest, cuda=False).preferred["xgboost-cpu"] == "3.0.1"
    assert asked(manifest).libraries == ("xgboost",)


def test_a_build_with_a_label_was_chosen_for_the_server_and_is_preferred() -> None:
    found = asked(bundle(Imported("torch", "torch", "2.5.0")), {"torch": "2.9.1+cpu"})
    assert found.preferred["torch"] == "2.9.1+cpu"


def test_two_requests_have_one_digest_when_they_ask_for_the_same_from_the_same() -> None:
    one, other = asked(bundle(requirements=["a"])), asked(bundle(requirements=["a"]))
    assert one.digest(["pypi"]) == other.digest(["pypi"])
    assert one.digest(["pypi"]) != one.digest(["elsewhere"])
    assert one.digest(["pypi"]) != asked(bundle(requirements=["b"])).digest(["pypi"])
