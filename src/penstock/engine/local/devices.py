"""The GPUs of this machine, and which replica is on which. No GPU library is used here.

A replica gets devices of its own within its version; versions share them, the least used first.
The driver must not be opened before a fork, so devices are found by their files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_DEVICE = re.compile(r"nvidia[0-9]+")

#: Values of the setting, and of `CUDA_VISIBLE_DEVICES`, that mean: none.
_NONE = frozenset({"", "-1", "none"})


def find_devices(
    setting: str, environ: Mapping[str, str] = os.environ, folder: Path = Path("/dev")
) -> tuple[str, ...]:
    """Return the devices that replicas may use, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        setting: `"auto"`, `"none"`, or names with commas between.
        environ: The server's environment, whose `CUDA_VISIBLE_DEVICES` is kept to.
        folder: Where the driver puts the devices' files.
    """
    if setting != "auto":
        return _names(setting)
    try:
        present = sorted(name for name in os.listdir(folder) if _DEVICE.fullmatch(name))
    except OSError:
        present = []
    if not present:
        return ()
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return _names(visible) if visible is not None else tuple(map(str, range(len(present))))


def _names(text: str) -> tuple[str, ...]:
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name.lower() not in _NONE))


class Devices:
    """Which device is used how often.

    Args:
        names: The devices.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._uses = dict.fromkeys(names, 0)

    def __len__(self) -> int:
        return len(self._uses)

    def places(self, count: int) -> int:
        """Return how many replicas with `count` devices each have devices of their own."""
        return max(1, len(self._uses) // max(1, count))

    def take(self, count: int, avoid: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the `count` least used devices, all there are at most, and count them as used.

        Args:
            count: How many.
            avoid: Those of the same version's other replicas, taken only if there are no others.
        """
        others = list(avoid)
        order = {name: number for number, name in enumerate(self._uses)}
        best = sorted(self._uses, key=lambda n: (others.count(n), self._uses[n], order[n]))
        taken = tuple(best[:count])
        for name in taken:
            self._uses[name] += 1
        return taken

    def give_back(self, names: Iterable[str]) -> None:
        """Count devices as not used any more by one replica."""
        for name in names:
            self._uses[name] -= 1
