import subprocess
import sys

import msgspec

from penstock.core.interpreter import Interpreter
from penstock.environments.describe import EnvironmentInfo, describe
from penstock.environments.distributions import distribution_of, installed


def test_it_lists_packages_modules_and_the_interpreter():
    info = describe()
    assert info.interpreter == Interpreter.current()
    assert info.packages["numpy"]
    assert info.packages["scikit-learn"]
    assert {"json", "numpy", "sklearn", "PIL"} <= set(info.modules)
    assert "cv9" not in info.modules


def test_nothing_is_imported_to_find_out():
    code = (
        "import sys; from penstock.environments.describe import describe; describe();"
        "sys.exit(bool({'numpy', 'torch', 'cloudpickle', 'sklearn', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_travels_as_json():
    info = describe()
    raw = msgspec.json.encode(info)
    assert msgspec.json.decode(raw, type=EnvironmentInfo) == info


def test_a_server_may_say_more_than_a_client_knows():
    raw = msgspec.json.encode({**msgspec.to_builtins(describe()), "limits": {"body": 1}})
    assert msgspec.json.decode(raw, type=EnvironmentInfo).packages


def test_folders_of_a_path_are_read_as_python_would(tmp_path):
    site = tmp_path / "site-packages"
    for name in ("pkg", "space", "My_Lib-1.2.dist-info", "__pycache__", "not-a-module"):
        (site / name).mkdir(parents=True)
    (site / "pkg" / "__init__.py").touch()
    for name in ("single.py", "fast.cpython-311-x86_64-linux-gnu.so", "notes.txt"):
        (site / name).touch()
    info = describe([str(site), str(tmp_path / "absent")])
    added = set(info.modules) - set(sys.stdlib_module_names) - set(sys.builtin_module_names)
    expected = {"pkg", "space", "single"}
    assert expected <= added <= expected | {"fast"}
    assert info.packages == {"my-lib": "1.2"}


def test_a_module_is_found_in_its_distribution():
    packages = installed()
    assert distribution_of("sklearn", packages)[0] == "scikit-learn"
    assert distribution_of("_pytest", packages)[0] == "pytest"
    assert distribution_of("cv9", packages) == (None, None)


def test_model_types_that_packages_add_are_read_from_their_metadata(tmp_path):
    (tmp_path / "nearest-1.0.dist-info").mkdir()
    listed = tmp_path / "nearest-1.0.dist-info" / "entry_points.txt"
    listed.write_text("[penstock.loaders]\nnearest = broken.module\n[console_scripts]\nx = y:z\n")
    assert describe([str(tmp_path)]).model_types == ["nearest"]
    assert describe([]).model_types == []
