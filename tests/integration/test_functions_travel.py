"""Functions packed by one process are loaded by another, as between a client and a worker."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import interpreters
import pytest

import penstock.core

SOURCE_ROOT = str(Path(penstock.core.__file__).parents[2])

PACK = """
import pathlib, sys
from penstock.client.preflight import prepare
from penstock.codec.bundle import write_manifest
from penstock.core.flow import Flow, ModelType

def pack(*stages):
    out = pathlib.Path(sys.argv[1])
    out.mkdir(exist_ok=True)
    (out / "model.json").write_text("{}")
    kind = ModelType.XGBOOST_CLASSIFIER
    prepared = prepare(Flow.parse([(kind, out / "model.json", s) for s in stages]))
    for sha256, source in prepared.blobs.items():
        data = source if isinstance(source, bytes) else source.read_bytes()
        (out / sha256).write_bytes(data)
    (out / "manifest.json").write_bytes(write_manifest(prepared.manifest))
    print(*prepared.warnings, sep="\\n", end="")
"""

LOAD = """
import ast, pathlib, sys
from penstock.codec.bundle import read_manifest
from penstock.codec.functions import install_modules, unpack_function
from penstock.core.errors import PenstockError

folder = pathlib.Path(sys.argv[1])
manifest = read_manifest((folder / "manifest.json").read_bytes())
paths = {sha256: folder / sha256 for sha256 in manifest.blobs()}
install_modules(manifest, paths, pathlib.Path(sys.argv[2]))
value = ast.literal_eval(sys.argv[3])
try:
    for number, stage in enumerate(manifest.stages, 1):
        for role, entry in (("pre", stage.pre), ("post", stage.post)):
            if entry is not None:
                raw = paths[entry.pickle.sha256].read_bytes()
                function = unpack_function(
                    raw, entry, manifest.interpreter, stage=number, role=role
                )
                value = function(value)
except PenstockError as error:
    print(error.code, error)
    sys.exit(3)
print(repr(value))
"""


def python(*arguments, cwd, program=sys.executable, path=()):
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([*map(str, path), SOURCE_ROOT]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [str(program), *map(str, arguments)],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Desk:
    """A client's folder, a worker's folder, and a bundle between them."""

    def __init__(self, root):
        self.client = root / "client"
        self.worker = root / "worker"
        self.bundle = root / "bundle"
        self.client.mkdir()
        self.worker.mkdir()
        self.write("packing.py", "")
        self.packing = root / "tools"
        self.packing.mkdir()
        (self.packing / "penstock_test_pack.py").write_text(PACK)
        (self.packing / "load.py").write_text(LOAD)

    def write(self, name, text):
        target = self.client / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text))

    def pack(self, *command, **options):
        path = [self.packing, *options.pop("path", ())]
        done = python(
            *(command or ("script.py",)), self.bundle, cwd=self.client, path=path, **options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def load(self, value, **options):
        return python(
            self.packing / "load.py", self.bundle, self.worker / "modules", repr(value),
            cwd=self.worker, **options,
        )  # fmt: skip

    def call(self, value):
        done = self.load(value)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_functions_of_a_script_travel_with_module_level_imports_and_helpers(desk):
    desk.write(
        "script.py",
        """
        import math
        import os.path as paths
        from penstock_test_pack import *
        FACTOR = 3
        def helper(value): return math.floor(value) * FACTOR
        def pre(data): return [helper(v) for v in data]
        def post(result): return [paths.basename(f"a/{v}") for v in result]
        if __name__ == "__main__":
            pack({"pre": pre, "post": post})
        """,
    )
    desk.pack()
    assert desk.call([1.5, 2.5]) == "['3', '6']"


def test_two_functions_of_one_name_in_different_stages_keep_apart(desk):
    desk.write("one.py", "STEP = 1\ndef pre(data): return data + STEP\n")
    desk.write("two.py", "STEP = 10\ndef pre(data): return data * STEP\n")
    desk.write(
        "script.py",
        """
        import one, two
        from penstock_test_pack import pack
        def pre(data): return data - 100
        pack({"pre": one.pre}, {"pre": two.pre}, {"pre": pre})
        """,
    )
    desk.pack()
    assert desk.call(1) == "-80"


def test_a_local_package_with_relative_imports_travels_as_source(desk):
    desk.write("pkg/__init__.py", "")
    desk.write("pkg/sub/__init__.py", "from .deep import SCALE\n")
    desk.write("pkg/sub/deep.py", "from ..base import UNIT\nSCALE = UNIT * 3\n")
    desk.write("pkg/base.py", "UNIT = 2\n")
    desk.write(
        "pkg/features.py",
        """
        from . import sub
        def pre(data):
            from .late import shift
            return shift(data * sub.SCALE)
        """,
    )
    desk.write("pkg/late.py", "def shift(value): return value + 1\n")
    desk.write(
        "script.py",
        """
        from pkg.features import pre
        from penstock_test_pack import pack
        pack({"pre": pre})
        """,
    )
    desk.pack()
    assert desk.call(5) == "31"
    installed = {p.relative_to(desk.worker / "modules") for p in desk.worker.rglob("*.py")}
    assert Path("pkg/sub/deep.py") in installed


def test_a_module_run_with_dash_m_may_import_relatively_inside_its_functions(desk):
    desk.write("app/__init__.py", "")
    desk.write("app/helpers.py", "def double(value): return value * 2\n")
    desk.write(
        "app/main.py",
        """
        from penstock_test_pack import pack
        def pre(data):
            from .helpers import double
            return double(data)
        pack({"pre": pre})
        """,
    )
    desk.pack("-m", "app.main")
    assert desk.call(4) == "8"


def test_code_that_came_through_standard_input_travels(desk):
    code = (
        "from penstock_test_pack import pack\n"
        "LIMIT = 7\n"
        "def pre(data): return data + LIMIT\n"
        "pack({'pre': pre})\n"
    )
    desk.pack("-c", code)
    assert desk.call(1) == "8"


def test_a_changed_module_is_deployed_as_it_is_now(desk):
    desk.write("helping.py", "def pre(data): return data + 1\n")
    desk.write(
        "script.py",
        """
        import helping
        from penstock_test_pack import pack
        pack({"pre": helping.pre})
        """,
    )
    desk.pack()
    assert desk.call(0) == "1"
    desk.write("helping.py", "def pre(data): return data + 1000\n")
    desk.pack()
    assert desk.call(0) == "1000"


def test_a_module_edited_in_a_running_session_is_deployed_as_it_was_tried(desk):
    desk.write("helping.py", "STEP = 1\ndef pre(data): return data + STEP\n")
    desk.write(
        "script.py",
        """
        import pathlib, helping
        from penstock_test_pack import pack
        pathlib.Path(helping.__file__).write_text("def other(data): return 0\\n")
        pack({"pre": helping.pre})
        """,
    )
    assert "changed after it was imported" in desk.pack()
    assert desk.call(0) == "1"


def test_a_module_that_deploys_itself_is_not_run_again_by_the_worker(desk):
    desk.write(
        "selfish.py",
        """
        from penstock_test_pack import pack
        def helper(data): return data + 2
        def pre(data): return helper(data)
        pack({"pre": pre})
        """,
    )
    desk.pack("-c", "import selfish")
    assert desk.call(1) == "3"


def test_a_module_that_cloudpickle_is_told_of_is_not_run_again_by_the_worker(desk):
    desk.write(
        "training.py",
        """
        import pathlib
        MEAN = float(pathlib.Path("numbers.csv").read_text())
        class Above:
            def of(self, data): return data > MEAN
        def pre(data): return Above().of(data)
        """,
    )
    desk.write("numbers.csv", "4.5")
    code = (
        "import cloudpickle, training\n"
        "from penstock_test_pack import pack\n"
        "cloudpickle.register_pickle_by_value(training)\n"
        "pack({'pre': training.pre})\n"
    )
    desk.pack("-c", code)
    assert desk.call(5) == "True"


def test_a_module_that_cannot_be_imported_in_the_worker_is_named_with_its_line(desk):
    desk.write(
        "training.py",
        """
        import os
        MEAN = float(os.environ["ONLY_HERE"])
        def pre(data): return data > MEAN
        """,
    )
    code = (
        "import os\n"
        "os.environ['ONLY_HERE'] = '1'\n"
        "import training\n"
        "from penstock_test_pack import pack\n"
        "pack({'pre': training.pre})\n"
    )
    desk.pack("-c", code)
    told = desk.load(5).stdout
    assert "could not be loaded: KeyError: 'ONLY_HERE'" in told
    assert "training.py, line 3: the server imports that file" in told


def test_the_public_memory_functions_travel_by_name(desk):
    desk.write(
        "script.py",
        """
        from penstock import save
        from penstock_test_pack import pack
        def pre(data):
            from penstock import get
            return [save.__module__, get.__name__, type(data).__name__]
        pack({"pre": pre})
        """,
    )
    desk.pack()
    assert desk.call(1) == "['penstock', 'get', 'int']"
    assert max(p.stat().st_size for p in desk.bundle.iterdir()) < 4096


OTHERS = interpreters.others()


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """Return the client's libraries for another Python, installed once."""
    root = tmp_path_factory.mktemp("libraries")

    def get(minor):
        target = root / minor
        if not target.exists():
            command = [OTHERS[minor], "-m", "pip", "install", "-q", "--target", target]
            done = subprocess.run(
                [*map(str, command), "--disable-pip-version-check", "cloudpickle", "msgspec"],
                capture_output=True,
                timeout=50,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"the libraries cannot be installed for Python {minor}")
        return target

    return get


MATRIX_SCRIPT = """
import contextlib
import math
from penstock_test_pack import pack
OFFSET = 2
def helper(value):
    try:
        import no_such_lib
    except ImportError:
        pass
    class Row:
        offset = OFFSET
    return [math.floor(v) + Row.offset for v in value]
def pre(data):
    with contextlib.suppress(KeyError):
        return helper(data)
pack({"pre": pre})
"""


@pytest.mark.skipif(not OTHERS, reason="no other Python version on this machine")
@pytest.mark.parametrize("minor", sorted(OTHERS))
def test_another_python_packs_and_loads_its_own_and_is_refused_elsewhere(desk, libraries, minor):
    path = [libraries(minor)]
    desk.write("script.py", MATRIX_SCRIPT)
    desk.pack(program=OTHERS[minor], path=path)
    own = desk.load([1.5], program=OTHERS[minor], path=path)
    assert own.stdout.strip() == "[3]", own.stderr
    here = desk.load([1.5])
    assert here.returncode == 3, here.stderr
    assert here.stdout.startswith("interpreter_mismatch")
    assert f"cpython {minor}" in here.stdout
    desk.pack()
    there = desk.load([1.5], program=OTHERS[minor], path=path)
    assert there.returncode == 3, there.stderr
    assert there.stdout.startswith("interpreter_mismatch")
