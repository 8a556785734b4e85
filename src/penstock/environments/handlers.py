"""Which parts of a code object may fail to import without harm.

`try: import ujson` with a handler for `ImportError` is a question, not a need; so is what the
handler imports instead. Python 3.11 keeps handlers in an exception table, 3.10 in block opcodes;
both are read here. Called by `penstock.environments.code`.
"""

from __future__ import annotations

import dis
from types import CodeType

#: Catching one of these makes an import optional.
FORGIVING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})

#: How many instructions of a handler may come before the test of the exception's class.
_TEST_WITHIN = 12

_TESTS = frozenset({"CHECK_EXC_MATCH", "JUMP_IF_NOT_EXC_MATCH"})
_NAMES = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR"})
_ENDS = frozenset({"POP_EXCEPT", "RERAISE"})


def optional_imports(code: CodeType, instructions: list[dis.Instruction]) -> set[int]:
    """Return the offsets of the imports whose failure the code itself handles."""
    imports = [i.offset for i in instructions if i.opname == "IMPORT_NAME"]
    if not imports:
        return set()
    index_of = {i.offset: n for n, i in enumerate(instructions)}
    blocks = [(covered, index_of[t]) for covered, t in _protected(code, instructions)]
    forgiving = {start for _, start in blocks if _forgives(instructions, start)}
    bodies = [_handler(instructions, start) for start in forgiving]
    return {
        offset
        for offset in imports
        if any(offset in body for body in bodies)
        or forgiving & _handlers_above(offset, blocks, instructions)
    }


def _handlers_above(
    offset: int, blocks: list[tuple[range, int]], instructions: list[dis.Instruction]
) -> set[int]:
    """Return the handlers an exception at `offset` can reach, one raising into the next."""
    found: set[int] = set()
    waiting = [offset]
    while waiting:
        here = waiting.pop()
        above = {start for covered, start in blocks if here in covered} - found
        found |= above
        waiting += [instructions[start].offset for start in above]
    return found


def _protected(code: CodeType, instructions: list[dis.Instruction]) -> list[tuple[range, int]]:
    """Return `(offsets, handler offset)` of every protected block."""
    entries = getattr(dis.Bytecode(code), "exception_entries", None)
    if entries is None:
        return _blocks(instructions)
    return [(range(entry.start, entry.end), entry.target) for entry in entries]


def _blocks(instructions: list[dis.Instruction]) -> list[tuple[range, int]]:
    found: list[tuple[range, int]] = []
    open_blocks: list[tuple[int, int]] = []
    for instruction in instructions:
        if instruction.opname in {"SETUP_FINALLY", "SETUP_WITH", "SETUP_ASYNC_WITH"}:
            open_blocks.append((instruction.offset, instruction.argval))
        elif instruction.opname == "POP_BLOCK" and open_blocks:
            start, target = open_blocks.pop()
            found.append((range(start, instruction.offset), target))
    found += [(range(start, target), target) for start, target in open_blocks]
    return found


def _forgives(instructions: list[dis.Instruction], start: int) -> bool:
    """Whether the handler at `start` takes import errors: by name, or by a bare `except:`."""
    names: set[str] = set()
    for position, instruction in enumerate(instructions[start : start + _TEST_WITHIN]):
        if instruction.opname in {"PUSH_EXC_INFO", "DUP_TOP"}:
            continue
        if instruction.opname == "POP_TOP" and position <= 1:
            return True
        if instruction.opname in _TESTS:
            return bool(names & FORGIVING)
        if instruction.opname in _NAMES:
            names.add(str(instruction.argval))
        elif instruction.opname not in {"BUILD_TUPLE", "EXTENDED_ARG"}:
            return False
    return False


def _handler(instructions: list[dis.Instruction], start: int) -> range:
    """Return the offsets of the handler's body."""
    for instruction in instructions[start:]:
        if instruction.opname in _ENDS:
            return range(instructions[start].offset, instruction.offset)
    return range(instructions[start].offset, instructions[-1].offset)
