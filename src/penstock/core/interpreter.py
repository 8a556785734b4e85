"""Which Python made something, and whether another may load it.

A function pickled by one Python minor version and loaded by another mostly ends the process (the
bytecode is not checked, it is run). So the interpreter is written down beside every function and
compared before anything is unpickled: by the client at deploy, by the worker at load.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Interpreter:
    """The Python that made the functions. Bytecode is only safe between equal `magic` numbers."""

    implementation: str
    version: str
    magic: str
    platform: str

    @classmethod
    def current(cls) -> Interpreter:
        """Return this process's interpreter. `magic` is `importlib.util.MAGIC_NUMBER` in hex."""
        return cls(
            implementation=sys.implementation.name,
            version=platform.python_version(),
            magic=importlib.util.MAGIC_NUMBER.hex(),
            platform=f"{sys.platform}-{platform.machine()}",
        )

    @property
    def minor(self) -> str:
        """The version without its last part, as in `3.11`."""
        return ".".join(self.version.split(".")[:2])

    def can_load_functions_of(self, other: Interpreter) -> bool:
        """Whether functions pickled by `other` are safe to unpickle here."""
        return self.implementation == other.implementation and self.magic == other.magic
