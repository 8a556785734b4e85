import functools
import io
import sys
import threading

import msgspec
import numpy as np
import pytest

from penstock.codec.bundle import Blob, Manifest, ModuleSource, StageEntry
from penstock.codec.captures import Where, measure
from penstock.codec.functions import install_modules, make_blob, pack_function, unpack_function
from penstock.core.errors import (
    BlobCorrupt,
    CaptureNotPicklable,
    CaptureTooLarge,
    InterpreterMismatch,
    InvalidManifest,
    LoadFailed,
    MissingImports,
)
from penstock.core.interpreter import Interpreter

HERE = Interpreter.current()
OTHER = Interpreter("cpython", "3.9.1", "610d0d0a", HERE.platform)


def from_script(text, name):
    """Return `name` as if `text` had been typed into a script: by value, in its own namespace."""
    space = {"__name__": "__main__"}
    exec(text, space)
    return space[name]


def travel(function, **options):
    packed = pack_function(function, stage=1, role="pre", arguments=1, **options)
    raw = packed.blobs[packed.entry.pickle.sha256]
    return unpack_function(raw, packed.entry, HERE, stage=1, role="pre")


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, data):
        return data * self.factor

    def times(self, data):
        return data * self.factor


def wrap(function):
    @functools.wraps(function)
    def inner(data):
        return function(data) + 1

    return inner


def wrap_barely(function):
    return lambda data: function(data) + 1


def double(data):
    return data * 2


@pytest.mark.parametrize(
    "function",
    [
        double,
        lambda data: data * 2,
        functools.partial(lambda factor, data: data * factor, 2),
        Scale(2),
        Scale(2).times,
        wrap(lambda data: data * 2 - 1),
        wrap_barely(lambda data: data * 2 - 1),
        functools.lru_cache(double),
        from_script("def f(data): return data * 2", "f"),
        from_script("import functools\n@functools.lru_cache\ndef f(data): return data * 2", "f"),
        from_script("class F:\n def __call__(self, data): return data * 2\nf = F()", "f"),
    ],
)
def test_every_kind_of_callable_travels(function):
    assert travel(function)(21) == 42


def test_what_only_a_nested_class_uses_travels_too():
    text = "LIMIT = 3\ndef f(data):\n    class Row:\n        most = LIMIT\n    return Row.most"
    assert travel(from_script(text, "f"))(0) == 3


def test_a_recursive_function_and_its_helpers_travel():
    text = "def odd(n): return n != 0 and even(n - 1)\ndef even(n): return n == 0 or odd(n - 1)\n"
    assert travel(from_script(text, "even"))(10) is True


def test_the_entry_names_the_function_its_place_and_its_source():
    entry = pack_function(double, stage=2, role="post", arguments=1).entry
    assert (entry.name, entry.arguments, entry.file) == ("double", 1, "test_functions.py")
    assert entry.line == double.__code__.co_firstlineno
    assert entry.pickle.name == "stage2-post.pkl"
    assert entry.source.name == "stage2-post.py"


def test_captured_values_are_listed_with_type_and_size():
    values = [("table", np.zeros(1000)), ("limit", 0.5), ("same", None)]
    packed = pack_function(double, stage=1, role="pre", arguments=1, values=values)
    by_name = {c.name: c for c in packed.entry.captured}
    assert by_name["table"].type == "numpy.ndarray"
    assert 8000 <= by_name["table"].size <= 8400
    assert by_name["limit"].type == "float"
    assert packed.size == sum(c.size for c in packed.entry.captured)


def test_what_two_values_share_is_counted_once():
    table = np.zeros(10_000)
    found, _ = measure([("pair", [table, table]), ("table", table)], Where(1, "pre"))
    sizes = {c.name: c.size for c in found}
    assert sizes["table"] >= 80_000
    assert sizes["pair"] < 100


def test_measuring_does_not_copy_large_arrays():
    import tracemalloc

    table = np.zeros(24 * 1024 * 1024, dtype=np.uint8)
    tracemalloc.start()
    measure([("table", table)], Where(1, "pre"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_more_than_32_mib_is_refused_and_names_the_largest_variable():
    weights = np.zeros(40 * 1024 * 1024, dtype=np.uint8)
    with pytest.raises(CaptureTooLarge) as caught:
        pack_function(
            lambda d: weights[d], stage=2, role="post", arguments=1,
            values=[("small", [1]), ("weights", weights)],
        )  # fmt: skip
    error = caught.value
    assert (error.stage, error.function, error.facts["variable"]) == (2, "post", "weights")
    assert "`weights` (numpy.ndarray) with 40.0 MiB" in str(error)
    assert "model file" in error.hint


def test_a_size_the_scan_did_not_see_is_refused_all_the_same():
    weights = np.zeros(40 * 1024 * 1024, dtype=np.uint8)
    with pytest.raises(CaptureTooLarge):
        pack_function(lambda d: weights[d], stage=1, role="pre", arguments=1)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (threading.Lock, "_thread.lock"),
        (lambda: (n for n in range(3)), "generator"),
        (lambda: __import__("socket").socket(), "socket.socket"),
        (lambda: __import__("concurrent.futures").futures.ThreadPoolExecutor(1), "ThreadPool"),
        (lambda: __import__("sqlite3").connect(":memory:"), "sqlite3.Connection"),
        (lambda: open(__file__, "rb"), "_io.BufferedReader"),  # noqa: SIM115
    ],
)
def test_a_value_that_cannot_travel_is_named_with_its_type(make, kind):
    client = make()
    try:
        with pytest.raises(CaptureNotPicklable) as caught:
            pack_function(
                lambda d: client, stage=3, role="pre", arguments=1,
                values=[("fine", 1), ("client", client)],
            )  # fmt: skip
    finally:
        getattr(client, "close", lambda: None)()
    error = caught.value
    assert (error.stage, error.function, error.facts["variable"]) == (3, "pre", "client")
    assert kind in error.facts["variable_type"]
    assert "`client`" in error.message
    assert "inside the function" in error.hint


def test_an_unseen_culprit_still_gives_the_reason():
    box = {"deep": [threading.Lock()]}
    with pytest.raises(CaptureNotPicklable, match=r"`pre` of stage 1 cannot be sent.*lock"):
        pack_function(lambda d: box, stage=1, role="pre", arguments=1)


def test_a_value_that_travels_by_the_name_of_a_script_is_refused():
    class ByName:
        def __reduce__(self):
            return "somewhere"

    thing = ByName()
    thing.__module__ = "__main__"
    sys.modules["__main__"].somewhere = thing
    try:
        with pytest.raises(CaptureNotPicklable, match="`somewhere` of the script"):
            pack_function(lambda d: thing, stage=1, role="pre", arguments=1)
    finally:
        del sys.modules["__main__"].somewhere


def test_another_interpreter_is_refused_before_anything_is_unpickled():
    packed = pack_function(double, stage=1, role="pre", arguments=1)
    with pytest.raises(InterpreterMismatch) as caught:
        unpack_function(b"not even a pickle", packed.entry, OTHER, stage=1, role="pre")
    assert "3.9.1" in str(caught.value)
    assert HERE.version in str(caught.value)
    assert (caught.value.stage, caught.value.function) == (1, "pre")
    assert "Deploy from Python" in caught.value.hint


def test_changed_bytes_are_refused_before_anything_is_unpickled():
    packed = pack_function(double, stage=1, role="pre", arguments=1)
    with pytest.raises(BlobCorrupt):
        unpack_function(b"\x80\x05.", packed.entry, HERE)


def load_raw(raw):
    packed = pack_function(double, stage=1, role="pre", arguments=1)
    entry = msgspec.structs.replace(packed.entry, pickle=make_blob("f", raw))
    return unpack_function(raw, entry, HERE, stage=2, role="post")


def test_a_missing_module_at_load_is_a_missing_import():
    with pytest.raises(MissingImports, match="`post` of stage 2 needs the module 'no_such_lib'"):
        load_raw(b"cno_such_lib\nf\n.")


@pytest.mark.parametrize("raw", [b"cjson\nno_such_name\n.", b"\x80\x05garbage", b"\x80\x05K\x01."])
def test_a_pickle_that_does_not_load_is_a_failed_load(raw):
    with pytest.raises(LoadFailed) as caught:
        load_raw(raw)
    assert (caught.value.stage, caught.value.function) == (2, "post")


def manifest_with(modules):
    return Manifest(HERE, [StageEntry("torch", Blob("m", "0" * 64, 1))], modules=modules)


def test_local_modules_are_installed_first_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "pen_shape", raising=False)
    stale = type(sys)("pen_shape")
    monkeypatch.setitem(sys.modules, "pen_shape", stale)
    source = b"SIDES = 4\n"
    blob = make_blob("pen_shape.py", source)
    (tmp_path / "blob").write_bytes(source)
    manifest = manifest_with([ModuleSource("pen_shape/__init__.py", blob)])
    install_modules(manifest, {blob.sha256: str(tmp_path / "blob")}, tmp_path / "bundle")
    import pen_shape

    assert pen_shape.SIDES == 4
    assert sys.path[0] == str(tmp_path / "bundle")


def test_a_module_path_cannot_leave_the_folder(tmp_path):
    blob = make_blob("x", b"")
    (tmp_path / "blob").write_bytes(b"")
    manifest = manifest_with([ModuleSource("../evil.py", blob)])
    with pytest.raises(InvalidManifest):
        install_modules(manifest, {blob.sha256: tmp_path / "blob"}, tmp_path / "bundle")
    assert not (tmp_path / "evil.py").exists()


def test_the_pickle_lists_the_modules_it_will_import():
    packed = pack_function(lambda d: np.asarray(d), stage=1, role="pre", arguments=1)
    assert "numpy" in packed.modules
    assert not any(m.startswith("penstock") for m in packed.modules)


def test_importing_the_codec_loads_no_pickler():
    import subprocess

    code = "import sys, penstock.codec.functions, penstock.environments.describe as d; d.describe()"
    check = "; sys.exit('cloudpickle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code + check], check=False).returncode == 0


def test_the_pickle_can_be_read_twice_with_the_same_answer():
    raw = io.BytesIO()
    packed = pack_function(double, stage=1, role="pre", arguments=1)
    raw.write(packed.blobs[packed.entry.pickle.sha256])
    again = pack_function(double, stage=1, role="pre", arguments=1)
    assert again.entry.pickle == packed.entry.pickle
