"""Scripts, saves, loads and calls a small module: what TorchScript builds for its first one."""

from __future__ import annotations

import io

import torch

from penstock.loaders.torch import TorchModel, run_without_profiling


def practise() -> None:
    """Take a module the way of a deployed one, from its file to its answer."""
    run_without_profiling(torch)
    file = io.BytesIO()
    with torch.random.fork_rng(devices=[]):
        chain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    torch.jit.save(torch.jit.script(chain.eval()), file)
    file.seek(0)
    TorchModel(torch.jit.load(file), "TorchScript").predict(torch.zeros(1, 2))


practise()
