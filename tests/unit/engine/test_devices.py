"""GPUs are found by their files and shared out one replica each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.engine.local.devices import Devices, find_devices


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("setting", "environ", "found"),
    [
        ("auto", {}, ("0", "1", "2")),
        ("auto", {"CUDA_VISIBLE_DEVICES": "GPU-1f,2"}, ("GPU-1f", "2")),
        ("auto", {"CUDA_VISIBLE_DEVICES": ""}, ()),
        ("auto", {"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ("none", {}, ()),
        ("1, 0,1", {}, ("1", "0")),
    ],
)
def test_devices_are_those_of_the_machine_that_are_left_to_us(
    dev: Path, setting: str, environ: dict[str, str], found: tuple[str, ...]
) -> None:
    assert find_devices(setting, environ, dev) == found


def test_a_machine_without_a_gpu_has_none(tmp_path: Path) -> None:
    assert find_devices("auto", {"CUDA_VISIBLE_DEVICES": "0"}, tmp_path) == ()
    assert find_devices("auto", dict(os.environ), tmp_path / "nowhere") == ()


def test_each_replica_of_a_version_gets_a_device_of_its_own() -> None:
    devices = Devices(["0", "1", "2", "3"])
    first = devices.take(2)
    assert first == ("0", "1")
    assert devices.take(2, first) == ("2", "3")
    assert (devices.places(1), devices.places(2), devices.places(3), devices.places(9)) == (
        4, 2, 1, 1,
    )  # fmt: skip


def test_another_version_gets_the_least_used_device() -> None:
    devices = Devices(["0", "1"])
    assert devices.take(1) == ("0",)
    assert devices.take(1) == ("1",)
    devices.give_back(["0"])
    assert devices.take(1) == ("0",)


def test_a_replacement_shares_a_device_only_when_all_are_its_versions_own() -> None:
    devices = Devices(["0", "1"])
    for _ in range(3):
        devices.take(1, ["0"])  # another version crowds device 1
    assert devices.take(1, ["0"]) == ("1",)
    assert devices.take(1, ["0", "1", "1"]) == ("0",)
