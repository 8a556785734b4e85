"""Weights without a module: SAFETENSORS and TORCH with what makes the module; torch.export."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from penstock import Conduit, PenstockError, model_type
from penstock.core.errors import InvalidSignature, InvalidStage, LoadFailed

M = model_type


class Tied(torch.nn.Module):
    """Two names for one weight, as in language models."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = torch.nn.Linear(width, width)
        self.last = torch.nn.Linear(width, width, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


ROWS = [[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, 0.0, 1.0]]


@pytest.fixture
def net() -> Tied:
    torch.manual_seed(3)
    return Tied().eval()


def answer(net: Any) -> Any:
    with torch.inference_mode():
        return net(torch.tensor(ROWS)).tolist()


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_weights_go_into_the_module_that_the_stage_makes(net: Tied, tmp_path: Path) -> None:
    safetensors.torch.save_model(net, str(tmp_path / "net.safetensors"))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    for kind, name in ((M.SAFETENSORS, "net.safetensors"), (M.TORCH, "net.pt")):
        flow = [(kind, tmp_path / name, {"model": Tied})]
        close(Conduit("here", None, flow).run(ROWS), answer(net))


def test_a_file_of_weights_with_code_in_it_is_refused_where_weights_are_meant(
    tmp_path: Path,
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("loaded",))

    torch.save({"first.weight": Evil()}, tmp_path / "net.pt", pickle_module=pickle)
    with pytest.raises(LoadFailed, match="Weights only load failed"):
        Conduit("here", None, [(M.TORCH, tmp_path / "net.pt", {"model": Tied})]).load()


def test_weights_alone_say_what_is_needed(net: Tied, tmp_path: Path) -> None:
    safetensors.torch.save_model(net, str(tmp_path / "net.safetensors"))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    for kind, name in ((M.SAFETENSORS, "net.safetensors"), (M.TORCH, "net.pt")):
        with pytest.raises(LoadFailed) as caught:
            Conduit("here", None, [(kind, tmp_path / name)]).load()
        assert '{"model": Net}' in (caught.value.hint or "")


def test_weights_of_another_module_name_what_differs(net: Tied, tmp_path: Path) -> None:
    safetensors.torch.save_model(net, str(tmp_path / "net.safetensors"))

    def wide() -> Tied:
        return Tied(5)

    def other() -> torch.nn.Module:
        return torch.nn.Linear(4, 4)

    def broken() -> Any:
        raise KeyError("settings")

    def number() -> int:
        return 3

    for make, words in (
        (wide, "other shapes"),
        (other, "without weight, bias and with first"),
        (broken, r"broken\(\) raised KeyError"),
        (number, r"number\(\) returned a int"),
    ):
        flow = [(M.SAFETENSORS, tmp_path / "net.safetensors", {"model": make})]
        with pytest.raises(LoadFailed, match=words):
            Conduit("here", None, flow).load()


def test_what_makes_the_module_takes_no_arguments(net: Tied, tmp_path: Path) -> None:
    safetensors.torch.save_model(net, str(tmp_path / "net.safetensors"))
    with pytest.raises(InvalidSignature, match="model of stage 1 is <lambda>"):
        Conduit(
            "here", None, [(M.SAFETENSORS, tmp_path / "net.safetensors", {"model": lambda w: w})]
        )
    with pytest.raises(InvalidStage, match="unknown function keys"):
        Conduit("here", None, [(M.ONNX, tmp_path / "net.onnx", {"model": Tied})])


def test_an_exported_program_with_a_fixed_first_axis_refuses_other_numbers_of_rows(
    net: Tied, tmp_path: Path
) -> None:
    program = torch.export.export(net, (torch.tensor(ROWS),))
    torch.export.save(program, tmp_path / "net.pt2")
    conduit = Conduit("here", None, [(M.TORCH, tmp_path / "net.pt2")]).load()
    close(conduit.run(ROWS), answer(net))
    with pytest.raises(PenstockError, match=r"a tensor of shape \(2, 4\)") as caught:
        conduit.run(ROWS[:1])
    assert caught.value.code == "input_mismatch"
