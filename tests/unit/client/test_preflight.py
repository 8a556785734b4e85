import hashlib
import pickle
import textwrap
from pathlib import Path

import cloudpickle
import msgspec
import numpy as np
import pytest

from penstock.client.preflight import prepare
from penstock.codec.bundle import read_manifest, write_manifest
from penstock.codec.payload import decode
from penstock.core.errors import InterpreterMismatch, MissingImports, UndefinedName
from penstock.core.flow import Flow, ModelType
from penstock.core.interpreter import Interpreter
from penstock.environments.describe import describe

SERVER = describe()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("{}")
    return path


def script(text, name="f"):
    space = {"__name__": "__main__"}
    exec(textwrap.dedent(text), space)
    return space[name]


def one(model, kind=ModelType.XGBOOST_CLASSIFIER, **functions):
    return Flow.parse([(kind, model, functions)])


def other_python():
    interpreter = Interpreter("cpython", "3.9.1", "610d0d0a", "linux-x86_64")
    return msgspec.structs.replace(SERVER, interpreter=interpreter)


def test_a_flow_becomes_a_manifest_and_its_blobs(model):
    flow = one(model, pre=script("def f(d): return d"), post=script("def f(r, d, files): return r"))
    prepared = prepare(flow, ["numpy"], environment=SERVER)
    manifest = prepared.manifest
    assert read_manifest(write_manifest(manifest)) == manifest
    assert set(prepared.blobs) == set(manifest.blobs())
    (stage,) = manifest.stages
    assert (stage.model_type, stage.model.name) == ("xgboost_classifier", "model.json")
    assert (stage.pre.arguments, stage.post.arguments) == (1, 3)
    assert manifest.interpreter == Interpreter.current()
    assert manifest.requirements == ["numpy"]
    assert manifest.cloudpickle == cloudpickle.__version__


def test_every_blob_has_the_hash_and_size_it_is_named_by(model):
    flow = one(model, pre=lambda d: np.asarray(d))
    prepared = prepare(flow, example=[[1.0]])
    for sha256, blob in prepared.manifest.blobs().items():
        source = prepared.blobs[sha256]
        content = source.read_bytes() if isinstance(source, Path) else source
        assert hashlib.sha256(content).hexdigest() == sha256
        assert len(content) == blob.size


def test_model_files_are_named_by_path_and_not_read_into_memory(model):
    prepared = prepare(one(model))
    assert prepared.blobs[prepared.manifest.stages[0].model.sha256] == model


def test_imports_and_packages_are_recorded_with_versions(model):
    found = prepare(one(model, pre=script("import numpy as np\ndef f(d): return np.sum(d)")))
    (imported,) = found.manifest.stages[0].pre.imports
    assert (imported.module, imported.distribution, imported.version) == (
        "numpy",
        "numpy",
        np.__version__,
    )
    assert found.manifest.packages == {"numpy": np.__version__}


def test_the_library_behind_a_captured_value_is_an_import_too(model):
    text = "import numpy\nTABLE = numpy.zeros(3)\ndel numpy\ndef f(d): return TABLE[d]"
    found = prepare(one(model, pre=script(text)))
    assert [i.module for i in found.manifest.stages[0].pre.imports] == ["numpy"]


def test_a_missing_module_is_found_with_stage_function_and_what_to_install(model):
    flow = Flow.parse(
        [
            (ModelType.XGBOOST_CLASSIFIER, model),
            (ModelType.XGBOOST_CLASSIFIER, model, {"pre": script("def f(d): import cv2")}),
        ]
    )
    without = msgspec.structs.replace(SERVER, modules=[m for m in SERVER.modules if m != "cv2"])
    with pytest.raises(MissingImports) as caught:
        prepare(flow, environment=without)
    assert "`pre` of stage 2 imports `cv2`" in caught.value.message
    assert "opencv-python-headless" in caught.value.hint


def test_an_undefined_name_is_found(model):
    with pytest.raises(UndefinedName, match="`helper`"):
        prepare(one(model, post=script("def f(r): return helper(r)")))


def test_functions_for_another_python_are_refused(model):
    with pytest.raises(InterpreterMismatch) as caught:
        prepare(one(model, post=script("def f(r): return r")), environment=other_python())
    assert "`post` of stage 1 is made by cpython" in caught.value.message
    assert "3.9" in caught.value.hint


def test_a_flow_without_code_deploys_from_any_python(model):
    assert prepare(one(model), environment=other_python()).manifest.stages


def test_a_pickled_model_with_code_needs_the_same_python(tmp_path):
    class Doubler:
        def predict(self, rows):
            return rows

    Doubler.__module__ = "__main__"
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(Doubler()))
    flow = one(path, ModelType.SKLEARN)
    assert prepare(flow, environment=SERVER)
    with pytest.raises(InterpreterMismatch, match=r"The model of stage 1 \(model.pkl\)"):
        prepare(flow, environment=other_python())


def test_a_pickled_model_without_code_deploys_from_any_python(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"weights": np.zeros(3)}))
    prepared = prepare(one(path, ModelType.SKLEARN), environment=other_python())
    assert prepared.manifest.packages == {"numpy": np.__version__}


def test_a_pickled_model_of_a_missing_library_is_refused(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cno_such_lib.sub\nModel\n.")
    with pytest.raises(MissingImports, match="The model of stage 1 refers to `no_such_lib`"):
        prepare(one(path, ModelType.SKLEARN), environment=SERVER)


def test_a_pickled_model_of_a_script_class_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"c__main__\nScaler\n.")
    with pytest.raises(MissingImports) as caught:
        prepare(one(path, ModelType.SKLEARN))
    assert "`Scaler` of the script" in caught.value.message
    assert "cloudpickle" in caught.value.hint


def test_a_pickled_model_saved_with_another_library_version_is_warned_of(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(np.zeros(3)))
    older = msgspec.structs.replace(SERVER, packages={**SERVER.packages, "numpy": "1.0.0"})
    prepared = prepare(one(path, ModelType.SKLEARN), environment=older)
    assert "the server has 1.0.0" in prepared.warnings[0]


def test_a_mebibyte_of_captured_values_is_warned_of(model):
    table = np.zeros(2 * 1024 * 1024, dtype=np.uint8)
    prepared = prepare(one(model, pre=lambda d: table[d]))
    assert "`pre` of stage 1 takes along 2.0 MiB" in prepared.warnings[0]
    assert "`table` (numpy.ndarray, 2.0 MiB)" in prepared.warnings[0]


def test_a_second_parameter_of_post_named_like_files_is_warned_of(model):
    prepared = prepare(one(model, post=script("def f(result, files): return result")))
    assert "names its second parameter `files`" in prepared.warnings[0]
    assert not prepare(one(model, post=script("def f(result, data): return result"))).warnings


def test_the_summary_has_a_line_per_function(model):
    text = "import numpy as np\nLIMIT = 0.5\ndef f(d): return np.sum(d) > LIMIT"
    flow = one(model, pre=script(text), post=script("def f(r): return r"))
    first, second = prepare(flow).captured
    assert first.startswith("pre of stage 1 (f): takes along LIMIT (float, ")
    assert f"uses numpy {np.__version__}" in first
    assert second == "post of stage 1 (f): stands alone"


def test_the_example_is_the_request_a_client_would_send(model):
    prepared = prepare(one(model), example=[[1.0, 2.0]])
    example = prepared.manifest.example
    request = decode(example.media_type, prepared.blobs[example.body.sha256])
    assert request.data == [[1.0, 2.0]]


def test_an_example_may_have_files(model, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    prepared = prepare(one(model), example=["a"], example_files=[tmp_path / "a.bin"])
    example = prepared.manifest.example
    request = decode(example.media_type, prepared.blobs[example.body.sha256])
    assert request.data == ["a"]
    assert [(f.name, f.read()) for f in request.files] == [("a.bin", b"abc")]


def test_no_environment_means_no_comparison(model):
    assert prepare(one(model, pre=script("def f(d): import no_such_lib"))).manifest.stages
