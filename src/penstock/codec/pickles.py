"""What a pickle refers to, read from its opcodes; nothing is unpickled and nothing can run.

Deploying looks into model files and packed functions with this: which modules will loading need,
does it carry bytecode (then the Python version must match), does it refer to a script's `__main__`
(then it cannot be loaded elsewhere). Called by `penstock.codec.functions` and
`penstock.client.models`.
"""

from __future__ import annotations

import _compat_pickle
import io
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Opcodes read at most; a big list of numbers after that is not looked at.
MOST_OPCODES = 500_000

#: Bytes read of the pickle inside an archive of `torch.save`; the tensors are beside it.
_MOST_ARCHIVED = 64 * 1024 * 1024

#: Longest text kept; module and attribute names are far shorter.
_LONGEST_NAME = 512

#: Globals that rebuild a function or class from its bytecode.
_CODE_MAKERS = frozenset(
    {
        ("types", "CodeType"),
        ("marshal", "loads"),
        ("cloudpickle.cloudpickle", "_make_function"),
        ("cloudpickle.cloudpickle", "_make_skeleton_class"),
        ("cloudpickle.cloudpickle_fast", "_make_function"),
        ("dill._dill", "_create_code"),
        ("dill._dill", "_create_function"),
    }
)

#: Files read as pickles although they lack the mark that pickles have since protocol 2.
_SUFFIXES = frozenset({".joblib", ".pickle", ".pkl"})

_STARTS = frozenset({b"\x80" + bytes([protocol]) for protocol in range(2, 6)})

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}

#: joblib writes raw array bytes after this object; what follows is no longer a pickle.
_RAW_FOLLOWS = ("joblib.numpy_pickle", "NumpyArrayWrapper")


@dataclass(frozen=True)
class PickleFacts:
    """What loading a pickle will look up.

    Attributes:
        names: `(module, attribute)` pairs.
        complete: False when only the beginning could be read.
    """

    names: frozenset[tuple[str, str]] = frozenset()
    complete: bool = True

    @property
    def modules(self) -> frozenset[str]:
        """Dotted names of the modules loading will import."""
        return frozenset(module for module, _ in self.names)

    @property
    def carries_code(self) -> bool:
        """Whether it holds bytecode, which only the same Python version can run."""
        return not _CODE_MAKERS.isdisjoint(self.names)


def pickle_facts(
    path: Path, name: str = "", most_opcodes: int = MOST_OPCODES
) -> PickleFacts | None:
    """Return what the file at `path` refers to, or None if it is no pickle.

    Understands plain pickles, joblib files up to their first array, and the archives of
    `torch.save`. TorchScript archives hold no pickled Python code and give None; of a compressed
    file nothing is known.

    Args:
        path: The file.
        name: The name it had on the user's machine; by default its own.
        most_opcodes: Where to stop reading.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        # Other formats begin with the same byte; a pickle's second is its protocol, 2 to 5.
        if start in _STARTS or Path(name or path.name).suffix.lower() in _SUFFIXES:
            return read_facts(file, most_opcodes)
    if start != b"PK" or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inner = [name for name in names if name.endswith("/data.pkl")]
        if not inner or any("/code/" in name for name in names):
            return None
        with archive.open(inner[0]) as member:
            return read_facts(io.BytesIO(member.read(_MOST_ARCHIVED)), most_opcodes)


def read_facts(file: BinaryIO, most_opcodes: int = MOST_OPCODES) -> PickleFacts:
    """Return what the pickle that starts at the file's position refers to."""
    reader = _Reader(file, most_opcodes)
    try:
        complete = reader.read()
    except (ValueError, KeyError, IndexError, EOFError, UnicodeDecodeError):
        complete = False
    return PickleFacts(frozenset(reader.names), complete)


class _Reader:
    """Reads opcodes and keeps what two strings were pushed last: a global's module and name."""

    def __init__(self, file: BinaryIO, most_opcodes: int) -> None:
        self._most = most_opcodes
        self.names: set[tuple[str, str]] = set()
        self._file = file
        self._texts: list[str | None] = [None, None]
        self._memo: dict[int, str] = {}
        self._memo_size = 0
        self._protocol = 0

    def read(self) -> bool:
        """Read to the end; return False if it stopped before."""
        for _ in range(self._most):
            opcode = _OPCODES[self._file.read(1).decode("latin-1")]
            argument = self._argument(opcode)
            if opcode.name == "STOP":
                return True
            self._step(opcode.name, argument)
            if _RAW_FOLLOWS in self.names:
                return False
        return False

    def _step(self, name: str, argument: str | int | None) -> None:
        if name in {"GLOBAL", "INST"} and isinstance(argument, str):
            module, _, attribute = argument.partition(" ")
            self.names.add(self._today(module, attribute))
            self._push(None)
        elif name == "STACK_GLOBAL":
            module_text, attribute_text = self._texts
            if module_text is not None and attribute_text is not None:
                self.names.add((module_text, attribute_text))
            self._push(None)
        elif name == "MEMOIZE":
            self._remember(self._memo_size)
        elif name == "PROTO" and isinstance(argument, int):
            self._protocol = argument
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"} and isinstance(argument, int):
            self._remember(argument)
        elif name in {"GET", "BINGET", "LONG_BINGET"} and isinstance(argument, int):
            self._push(self._memo.get(argument))
        elif name != "FRAME":
            self._push(argument if isinstance(argument, str) else None)

    def _today(self, module: str, attribute: str) -> tuple[str, str]:
        """Return the name as unpickling will look it up: old protocols have Python 2's names."""
        if self._protocol >= 3:
            return module, attribute
        renamed = _compat_pickle.NAME_MAPPING.get((module, attribute))
        if renamed is not None:
            return renamed
        return _compat_pickle.IMPORT_MAPPING.get(module, module), attribute

    def _push(self, text: str | None) -> None:
        self._texts = [self._texts[1], text]

    def _remember(self, key: int) -> None:
        self._memo_size += 1
        text = self._texts[1]
        if text is not None:
            self._memo[key] = text

    def _argument(self, opcode: pickletools.OpcodeInfo) -> str | int | None:
        form = opcode.arg
        if form is None:
            return None
        if form.n == pickletools.UP_TO_NEWLINE:
            return self._lines(opcode.name)
        if form.n >= 0:
            return int.from_bytes(self._exactly(form.n), "little")
        width = {
            pickletools.TAKEN_FROM_ARGUMENT1: 1,
            pickletools.TAKEN_FROM_ARGUMENT4: 4,
            pickletools.TAKEN_FROM_ARGUMENT4U: 4,
            pickletools.TAKEN_FROM_ARGUMENT8U: 8,
        }[form.n]
        size = int.from_bytes(self._exactly(width), "little")
        if "UNICODE" in opcode.name and size <= _LONGEST_NAME:
            return self._exactly(size).decode("utf-8", "surrogatepass")
        self._file.seek(size, io.SEEK_CUR)
        return None

    def _lines(self, name: str) -> str | int | None:
        line = self._file.readline().rstrip(b"\n").decode("latin-1")
        if name in {"GLOBAL", "INST"}:
            return f"{line} {self._file.readline().rstrip().decode('latin-1')}"
        if name in {"GET", "PUT"}:
            return int(line)
        return line if name == "UNICODE" else None

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise EOFError
        return data
