import io
import pickle
import zipfile

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from penstock.codec.pickles import pickle_facts, read_facts


def facts_of(raw):
    return read_facts(io.BytesIO(raw))


@pytest.mark.parametrize("protocol", range(6))
def test_names_are_found_in_every_protocol(protocol):
    found = facts_of(pickle.dumps([np.float64(1), np.float64(2), complex(1)], protocol))
    modules = {module.split(".")[0] for module in found.modules}
    assert "numpy" in modules
    assert found.complete


def test_old_protocols_are_read_with_the_names_of_today():
    found = facts_of(pickle.dumps({"set": {1, 2}, "range": range(3), "float": float}, 2))
    assert found.modules == {"builtins"}
    assert ("builtins", "range") in found.names


def test_a_function_by_value_carries_code_and_a_model_does_not():
    assert facts_of(cloudpickle.dumps(lambda x: x)).carries_code
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    found = facts_of(pickle.dumps(model))
    assert not found.carries_code
    assert ("sklearn.linear_model._logistic", "LogisticRegression") in found.names


def test_long_values_are_passed_over():
    found = facts_of(pickle.dumps(["x" * 5000, b"y" * 100_000, np.zeros(50_000), np.int8(1)]))
    assert found.complete
    assert any(m.startswith("numpy") for m in found.modules)


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x80\x05\xff\xff", b"\x80\x05X\xff\xff\xff\x7f"])
def test_garbage_is_incomplete_and_does_not_raise(raw):
    assert not facts_of(raw).complete


def test_a_joblib_file_is_read_up_to_its_first_array(tmp_path):
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    joblib.dump(model, tmp_path / "m.joblib")
    found = pickle_facts(tmp_path / "m.joblib")
    assert ("sklearn.linear_model._logistic", "LogisticRegression") in found.names


def test_a_torch_archive_is_read_and_torchscript_is_left_alone(tmp_path):
    for name, members in (
        ("saved.pt", {"m/data.pkl": pickle.dumps(np.float64(1))}),
        ("script.pt", {"m/data.pkl": pickle.dumps(np.float64(1)), "m/code/x.py": b""}),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    assert pickle_facts(tmp_path / "saved.pt").modules
    assert pickle_facts(tmp_path / "script.pt") is None


def test_of_a_compressed_file_nothing_is_known(tmp_path):
    joblib.dump(np.zeros(3), tmp_path / "m.joblib", compress=3)
    found = pickle_facts(tmp_path / "m.joblib")
    assert (found.names, found.complete) == (frozenset(), False)


def test_a_file_that_is_no_pickle_gives_nothing(tmp_path):
    (tmp_path / "m.json").write_text("{}")
    assert pickle_facts(tmp_path / "m.json") is None
