"""TORCH stages: what the file holds decides how it is read; answers are the module's own."""

from __future__ import annotations

import pickle
import warnings

import cloudpickle
import pytest
import torch

from penstock.core.errors import LoadFailed
from penstock.core.flow import ModelType


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
    )


def want(net, x):
    net.eval()
    with torch.no_grad():
        return net(x)


def script(net, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(path))
    return path


@pytest.mark.parametrize("form", ["TorchScript", "torch.save", "pickle"])
def test_a_module_answers_in_evaluation_mode_however_it_was_saved(net, tmp_path, load, form):
    net.train()
    path = tmp_path / "net.pt"
    if form == "TorchScript":
        script(net, path)
    elif form == "torch.save":
        torch.save(net, path)
    else:
        path.write_bytes(cloudpickle.dumps(net))
    loaded = load(path, ModelType.TORCH)
    x = torch.randn(5, 4)
    assert torch.equal(loaded.predict(x), want(net, x))
    assert loaded.describe()["form"] == form


def test_an_output_handed_to_user_code_may_be_changed_in_place(net, tmp_path, load):
    loaded = load(script(net, tmp_path / "net.pt"), ModelType.TORCH)
    output = loaded.predict(torch.ones(1, 4))
    assert output.is_inference()
    own = loaded.hand_out({"a": [output]})["a"][0]
    own += 1
    assert not torch.equal(own, output)


def test_a_state_dict_is_refused_with_what_to_do(net, tmp_path, load):
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(LoadFailed, match="state_dict") as caught:
        load(tmp_path / "net.pt", ModelType.TORCH)
    assert "torch.jit.script" in caught.value.hint


@pytest.mark.parametrize("raw", [b"not a model", b"", pickle.dumps([1, 2])])
def test_a_file_without_a_module_is_refused(tmp_path, load, raw):
    (tmp_path / "net.pt").write_bytes(raw)
    with pytest.raises(LoadFailed):
        load(tmp_path / "net.pt", ModelType.TORCH)


def test_the_dtype_of_the_parameters_is_declared(net, tmp_path, load):
    double = torch.nn.Linear(2, 1).double()
    (tmp_path / "net.pkl").write_bytes(cloudpickle.dumps(double))
    loaded = load(tmp_path / "net.pkl", ModelType.TORCH)
    assert loaded.float_dtype is torch.float64
    assert loaded.inputs[0].dtype == "float64"
