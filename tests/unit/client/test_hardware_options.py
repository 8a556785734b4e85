"""What a deployment asks of the machine, and the secrets it declares, as the server is told."""

from __future__ import annotations

from typing import Any

import pytest

import penstock
from penstock.client.options import Options
from penstock.core.errors import InvalidName, InvalidSetting
from penstock.core.flow import Flow, ModelType
from penstock.core.hardware import Hardware, hardware_name, wants_gpu


def told(**options: Any) -> dict[str, Any]:
    given = Options(**options)
    given.check()
    return given.settings(Flow.parse([(ModelType.PYTHON, len)]))


def test_cores_become_threads_unless_threads_are_given() -> None:
    assert told()["threads"] == 1
    assert told(cpu=4)["threads"] == 4
    assert told(cpu=4, threads=2)["threads"] == 2


def test_memory_is_given_in_gib_or_in_bytes_but_not_in_both() -> None:
    assert told(memory=1.5)["memory_limit_bytes"] == 3 << 29
    assert told(memory_limit=5)["memory_limit_bytes"] == 5
    with pytest.raises(InvalidSetting, match="give one of them"):
        told(memory=1, memory_limit=1)


@pytest.mark.parametrize("name", ["CPU", "GPU", "A10", "TURING_4000", "TURING_5000",
                                  "AMPERE_A4000", "AMPERE_A5000", "AMPERE_A6000",
                                  "AMPERE_A100"])  # fmt: skip
def test_every_name_of_hardware_is_taken_as_text_and_as_member(name: str) -> None:
    assert told(hardware=name)["hardware"] == name
    assert told(hardware=name.lower())["hardware"] == name
    assert told(hardware=getattr(penstock.hardware, name))["hardware"] == name
    assert wants_gpu(name, can_use=False) == (name != "CPU")
    assert str(Hardware(name)) == name


def test_without_a_word_about_hardware_the_models_decide() -> None:
    assert hardware_name(None) == "auto"
    assert wants_gpu("auto", can_use=True)
    assert not wants_gpu("auto", can_use=False)
    assert not wants_gpu("CPU", can_use=True)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"hardware": "TPU"}, InvalidSetting),
        ({"cpu": 0}, InvalidSetting),
        ({"memory": -1}, InvalidSetting),
        ({"gpu": 0}, InvalidSetting),
        ({"secrets": "TOKEN"}, InvalidSetting),
        ({"secrets": ["a b"]}, InvalidName),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        penstock.Conduit("flow", "key", [(penstock.model_type.PYTHON, len)], **options)


def test_declared_and_found_secrets_are_told_once_each() -> None:
    options = Options(secrets=["A", "B"])
    flow = Flow.parse([(ModelType.PYTHON, len)])
    assert options.settings(flow, ["B", "C"])["secrets"] == ["A", "B", "C"]
