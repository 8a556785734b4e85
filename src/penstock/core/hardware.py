"""What a deployment may ask to run on.

`Hardware` is `penstock.hardware`. The names of particular GPUs are those that a hosted platform
offered; here each of them means a GPU of this machine, whichever it has.
"""

from __future__ import annotations

from enum import Enum

from penstock.core.errors import InvalidSetting


class Hardware(str, Enum):
    """What a deployment may ask to run on: the CPU, or a GPU by any of its names."""

    CPU = "CPU"
    GPU = "GPU"
    A10 = "A10"
    TURING_4000 = "TURING_4000"
    TURING_5000 = "TURING_5000"
    AMPERE_A4000 = "AMPERE_A4000"
    AMPERE_A5000 = "AMPERE_A5000"
    AMPERE_A6000 = "AMPERE_A6000"
    AMPERE_A100 = "AMPERE_A100"

    def __str__(self) -> str:
        return self.value


#: What stands in the settings of a version that asks for nothing.
AUTO = "auto"


def hardware_name(given: object) -> str:
    """Return what a version keeps of the hardware that was asked for; None means `"auto"`.

    Raises:
        InvalidSetting: It is no name of hardware.
    """
    if given is None or given == AUTO:
        return AUTO
    text = str(getattr(given, "value", given)).upper()
    if text not in Hardware.__members__:
        raise InvalidSetting(
            f"hardware is {str(given)[:40]!r}.",
            hint=f"It may be {', '.join(Hardware.__members__)}, or nothing: then a GPU is used "
            "where there is one and a model can use it.",
        )
    return text


def wants_gpu(name: str, *, can_use: bool) -> bool:
    """Whether a version with the setting `name` is to run on a GPU where there is one.

    Args:
        name: What `hardware_name` returned.
        can_use: Whether one of its models can use a GPU.
    """
    return can_use if name == AUTO else name != Hardware.CPU.value
