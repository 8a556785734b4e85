import functools
import sys
import textwrap

import numpy as np
import pytest

from penstock.core.errors import UndefinedName
from penstock.environments.imports import Scanner


def script(text, name="f", **given):
    """Return `name` as a script or notebook would define it."""
    space = {"__name__": "__main__", **given}
    exec(textwrap.dedent(text), space)
    return space[name]


def scan(function):
    return Scanner().scan(function, stage=1, role="pre")


def libraries(function):
    return [library.module for library in scan(function).libraries]


def names(function):
    return [value.name for value in scan(function).values]


def test_imports_inside_functions_nested_functions_lambdas_and_classes_are_found():
    text = """
    def f(data):
        import numpy.linalg
        def inner():
            from pandas import DataFrame
            return lambda: __import__, (lambda: g())
        class Row:
            import sklearn
        return inner
    def g():
        import torch
    """
    assert libraries(script(text)) == ["numpy", "pandas", "sklearn", "torch"]


def test_imports_at_module_level_are_found_through_the_names_used():
    text = """
    import numpy as np, pandas
    from PIL import Image
    from sklearn.preprocessing import StandardScaler
    def f(data):
        return np.asarray(data), Image.new, StandardScaler
    """
    assert libraries(script(text)) == ["PIL", "numpy", "sklearn"]


def test_distribution_and_version_are_known_where_the_name_differs():
    found = scan(script("def f(d):\n import PIL, sklearn, dateutil"))
    by_module = {library.module: library for library in found.libraries}
    assert by_module["PIL"].distribution == "pillow"
    assert by_module["sklearn"].distribution == "scikit-learn"
    assert by_module["dateutil"].distribution == "python-dateutil"
    assert by_module["PIL"].version


def test_the_standard_library_and_penstock_are_no_libraries():
    text = "from penstock.core import names\ndef f(d):\n import json, os.path, _thread\n names"
    assert libraries(script(text)) == []


@pytest.mark.parametrize(
    "body",
    [
        "try:\n  import cv9\n except ImportError:\n  cv9 = None",
        "try:\n  import cv9\n except (ValueError, ModuleNotFoundError):\n  import cv8",
        "try:\n  import cv9\n except Exception as e:\n  print(e)",
        "try:\n  from cv9.a import b\n except:\n  pass",
        "try:\n  with open(d):\n   import cv9\n except ImportError:\n  pass",
    ],
)
def test_an_import_whose_failure_is_handled_is_optional(body):
    assert libraries(script(f"def f(d):\n {body}\n")) == []


@pytest.mark.parametrize(
    "body",
    [
        "import cv9",
        "try:\n  import cv9\n except ValueError:\n  pass",
        "try:\n  import cv9\n finally:\n  print()",
        "with open(d):\n  import cv9",
        "try:\n  pass\n except ImportError:\n  pass\n import cv9",
        "import cv9\n try:\n  import cv9\n except ImportError:\n  pass",
    ],
)
def test_an_import_whose_failure_is_not_handled_is_needed(body):
    assert libraries(script(f"def f(d):\n {body}\n")) == ["cv9"]


def test_every_kind_of_callable_is_followed():
    text = """
    import functools
    class C:
        def __init__(self): self.f = plain
        def __call__(self, data): import numpy
        def method(self, data): import pandas
        @staticmethod
        def still(data): import torch
        @property
        def prop(self): import sympy
    def plain(data, other=None): import sklearn
    def wrap(f):
        @functools.wraps(f)
        def inner(data): return f(data)
        return inner
    wrapped = wrap(plain)
    partial = functools.partial(plain, other=1)
    cached = functools.lru_cache(plain)
    steps = [plain]
    def listed(data): return [s(data) for s in steps]
    """
    space = {"__name__": "__main__"}
    exec(textwrap.dedent(text), space)
    for name in ("plain", "wrapped", "partial", "cached", "listed"):
        assert libraries(space[name]) == ["sklearn"], name
    everything = ["numpy", "pandas", "sklearn", "sympy", "torch"]
    assert libraries(space["C"]()) == everything
    assert libraries(space["C"]().method) == everything


def test_globals_closures_defaults_and_attributes_are_captured_with_their_names():
    text = """
    TABLE, UNUSED = [1], [2]
    def make(limit):
        def f(data, step=3, *, last=4):
            return helper(data) + limit + TABLE[0]
        return f
    def helper(x): return x + OFFSET
    OFFSET = 5
    f = make(7)
    class C:
        RATE = 2
        def __init__(self): self.state = 8
        def __call__(self, data): return self.state
    """
    assert sorted(names(script(text))) == ["OFFSET", "TABLE", "helper", "last", "limit", "step"]
    instance = script(text, "C")()
    assert {"self.state", "C.RATE"} <= set(names(instance))


def test_a_bound_method_is_captured_under_its_own_name():
    text = "class C:\n def go(self, d): import pandas\ngo = C().go\ndef f(d): return go(d)"
    assert names(script(text)) == ["go"]
    assert libraries(script(text)) == ["pandas"]


def test_modules_and_library_functions_are_not_captured_values():
    text = "import numpy as np\nfrom numpy import mean\ndef f(d): return np.sum(d), mean(d), len"
    assert names(script(text)) == []


def test_names_that_exist_nowhere_are_refused_together():
    text = """
    def f(data):
        return [clean(row) for row in data] + [g()]
    def g():
        return lambda: THRESHHOLD
    """
    with pytest.raises(UndefinedName) as caught:
        scan(script(text))
    assert caught.value.facts["names"] == ["THRESHHOLD", "clean"]
    assert "`pre` of stage 1 uses `THRESHHOLD`, `clean`" in caught.value.message


def test_a_display_call_of_a_notebook_is_not_on_the_server(monkeypatch):
    import builtins

    monkeypatch.setattr(builtins, "display", print, raising=False)
    with pytest.raises(UndefinedName, match="display"):
        scan(script("def f(d): display(d)"))


@pytest.mark.parametrize(
    "text",
    [
        "def f(d):\n global cache\n cache = 1\n return cache",
        "def f(d):\n start()\n return late\ndef start():\n global late\n late = 1",
        "def f(d):\n class A:\n  x = 1\n  y = x\n  def m(s): return __class__, super()\n return A",
        "def f(d):\n class A:\n  z: int = len([1])\n  w = [i for i in range(3)]\n return A",
        "def f(d): return [x for x in d if (y := x)] + [z for w in d for z in w]",
        "def f(d):\n try:\n  return unicode(d)\n except NameError:\n  return str(d)",
        "def f(d): return __name__, __file__, __debug__, __doc__, __builtins__",
        "def f(d):\n def inner(): return inner, late\n late = 1\n return inner",
        "def f(d):\n import os as o\n from sys import path as p\n return o, p",
        "def f(d):\n with open(d) as h, h as k:\n  for i, (a, *b) in k:\n   del i\n  return a, b",
        "def f(d):\n def g(x: 'Missing') -> 'Missing': return x\n return g",
        "def f(d):\n from typing import NamedTuple\n class P(NamedTuple):\n  x: int = 1\n return P",
        "from dataclasses import dataclass, field\n@dataclass\nclass P:\n x: list = field("
        "default_factory=list)\n y: int = 0\ndef f(d): return P()",
        "import enum\nclass E(enum.Enum):\n A = 1\ndef f(d): return E.A",
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(d): return P(1, 2)",
    ],
)
def test_names_that_are_defined_somehow_are_not_refused(text):
    scan(script(text))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
def test_type_parameters_are_defined():
    scan(script("def f[T](d: T) -> T:\n class A[U]:\n  x: U\n type L = list[T]\n return A, L"))


def test_two_functions_of_one_name_are_told_apart():
    first = script("import numpy\ndef f(d): return numpy")
    second = script("import pandas\ndef f(d): return pandas")
    scanner = Scanner()
    assert [lib.module for lib in scanner.scan(first, stage=1, role="pre").libraries] == ["numpy"]
    assert [lib.module for lib in scanner.scan(second, stage=2, role="pre").libraries] == ["pandas"]


def test_a_local_module_travels_as_source_with_what_it_imports(project):
    project.write("pen_pkg/__init__.py")
    project.write("pen_pkg/sub/__init__.py", "from .deep import SCALE")
    project.write(
        "pen_pkg/sub/deep.py", "from ... import pen_top\nSCALE = 2".replace("... ", ".. ")
    )
    project.write("pen_pkg/pen_top.py", "import pen_flat\nimport pandas")
    project.write("pen_pkg/unused.py", "import no_such_lib")
    project.write("pen_flat.py", "def shift(x): return x + 1")
    project.write(
        "pen_pkg/features.py",
        """
        from . import sub
        from pen_flat import shift
        def pre(data): return shift(data) * sub.SCALE
        """,
    )
    scanner = Scanner()
    found = scanner.scan(project.load("pen_pkg.features").pre, stage=1, role="pre")
    assert sorted(scanner.sources()) == [
        "pen_flat.py",
        "pen_pkg/__init__.py",
        "pen_pkg/features.py",
        "pen_pkg/pen_top.py",
        "pen_pkg/sub/__init__.py",
        "pen_pkg/sub/deep.py",
    ]
    assert [library.module for library in found.libraries] == ["pandas"]
    assert found.values == []
    assert scanner.by_value == frozenset()


def test_a_script_takes_its_local_helpers_along_by_name(project):
    project.write("pen_help.py", "import numpy\nLIMIT = 1\ndef clean(x): return x")
    project.write("pen_lazy.py", "import sympy")
    text = """
    import pen_help
    def f(data):
        from pen_lazy import nothing
        return pen_help.clean(data)
    """
    scanner = Scanner()
    found = scanner.scan(script(text), stage=1, role="pre")
    assert sorted(scanner.sources()) == ["pen_help.py", "pen_lazy.py"]
    assert [library.module for library in found.libraries] == ["numpy", "sympy"]
    assert found.local == ["pen_help", "pen_lazy"]
    assert found.values == []


def test_lazy_imports_of_a_local_module_count_only_where_they_are_used(project):
    project.write(
        "pen_lazies.py",
        """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import never_one
        try:
            import never_two
        except ImportError:
            never_two = None
        def used(): import cv9
        def unused(): import never_three
        if __name__ == "__main__":
            import never_four
        """,
    )
    assert libraries(script("import pen_lazies\ndef f(d): return pen_lazies.used()")) == ["cv9"]
    assert libraries(script("from pen_lazies import used\ndef f(d): return used()")) == ["cv9"]
    assert libraries(script("def f(d):\n from pen_lazies import used\n used()")) == ["cv9"]


def test_a_folder_without_init_is_a_package_too(project):
    project.write("pen_space/inner/tool.py", "VALUE = 1")
    project.load("pen_space.inner.tool")
    scanner = Scanner()
    scanner.scan(
        script("import pen_space.inner.tool as t\ndef f(d): return t"), stage=1, role="pre"
    )
    assert list(scanner.sources()) == ["pen_space/inner/tool.py"]


def test_a_file_edited_after_its_import_makes_its_functions_travel_by_value(project):
    path = project.write("pen_stale.py", "def pre(data): return data + 1")
    module = project.load("pen_stale")
    path.write_text("def pre(data): return data + 2\n")
    scanner = Scanner()
    scanner.scan(module.pre, stage=1, role="pre")
    assert scanner.by_value == {"pen_stale"}
    assert "'pen_stale' changed after it was imported" in scanner.warnings[0]


def test_a_file_that_only_moved_its_lines_is_not_stale(project):
    path = project.write("pen_moved.py", "LIMIT = 1\ndef pre(data): return data + LIMIT")
    module = project.load("pen_moved")
    path.write_text("# a comment\nLIMIT = 1\n\n\ndef pre(data):\n    return data + LIMIT\n")
    scanner = Scanner()
    scanner.scan(module.pre, stage=1, role="pre")
    assert scanner.by_value == frozenset()


def test_a_constant_changed_from_outside_is_noticed(project):
    project.write("pen_const.py", "LIMIT = 1\ndef pre(data): return data + LIMIT")
    module = project.load("pen_const")
    module.LIMIT = 5
    scanner = Scanner()
    found = scanner.scan(module.pre, stage=1, role="pre")
    assert [value.name for value in found.values] == ["LIMIT"]
    assert "`LIMIT` is 5 here and 1 in the file" in scanner.warnings[0]


def test_a_module_made_in_memory_travels_by_value(monkeypatch):
    module = type(sys)("pen_memory")
    exec("import numpy as np\ndef pre(data): return np.sum(data) + BASE\nBASE = 2", vars(module))
    monkeypatch.setitem(sys.modules, "pen_memory", module)
    scanner = Scanner()
    found = scanner.scan(module.pre, stage=1, role="pre")
    assert scanner.by_value == {"pen_memory"}
    assert [library.module for library in found.libraries] == ["numpy"]


def test_a_module_that_deploys_while_it_is_imported_travels_by_value(project):
    project.write(
        "pen_selfish.py",
        """
        from penstock.environments.imports import Scanner
        def pre(data): return data
        scanner = Scanner()
        scanner.scan(pre, stage=1, role="pre")
        """,
    )
    assert project.load("pen_selfish").scanner.by_value == {"pen_selfish"}


def test_library_decorators_do_not_hide_the_function_beneath():
    torch = pytest.importorskip("torch")
    text = """
    import torch
    @torch.no_grad()
    def f(data):
        import pandas
        return data
    """
    assert torch
    assert "pandas" in libraries(script(text))


def test_a_numpy_function_as_processing_function_needs_numpy():
    assert libraries(functools.partial(np.linalg.norm, axis=1)) == ["numpy"]
    assert libraries(np.asarray) in (["numpy"], [])
