"""What one code object imports and which names it uses, read from its bytecode.

Works for every function there is (lambdas, exec, notebook cells), also without source text.
Used by `penstock.environments.reach`, which follows the names to what they stand for.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType

from penstock.environments.handlers import optional_imports

#: Code compiled for a function has this flag; the body of a class has not.
_OPTIMIZED = 0x01

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORES = frozenset({"STORE_GLOBAL"})
_CONSTANTS = frozenset({"LOAD_CONST", "LOAD_SMALL_INT"})


@dataclass(frozen=True)
class CodeImport:
    """One import statement. `level` counts the leading dots; `names` follow `from m import`."""

    module: str
    level: int
    names: tuple[str, ...]
    optional: bool


@dataclass
class CodeFacts:
    """What a code object and all code nested in it does with names.

    Attributes:
        imports: Import statements in order.
        loads: Global names read; a dict keeps the order of first use.
        stores: Global names the code assigns through `global`.
        attributes: Every attribute name used, for following `module.name`.
        handles_name_error: Whether some part catches `NameError`, as feature tests do.
    """

    imports: list[CodeImport] = field(default_factory=list)
    loads: dict[str, None] = field(default_factory=dict)
    stores: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    handles_name_error: bool = False


def facts_of(code: CodeType) -> CodeFacts:
    """Return the facts of `code` with those of the functions and classes nested in it."""
    facts = CodeFacts()
    for part in with_nested(code):
        _read(part, facts)
    return facts


def with_nested(code: CodeType) -> Iterator[CodeType]:
    """Yield `code` and every code object among its constants, at any depth."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from with_nested(constant)


def _read(code: CodeType, facts: CodeFacts) -> None:
    instructions = list(dis.get_instructions(code))
    optional = optional_imports(code, instructions)
    is_function = bool(code.co_flags & _OPTIMIZED)
    own = set() if is_function else {i.argval for i in instructions if i.opname == "STORE_NAME"}
    for index, instruction in enumerate(instructions):
        name = instruction.argval
        if instruction.opname in _LOADS and name not in own:
            facts.loads[name] = None
        elif instruction.opname in _STORES:
            facts.stores.add(name)
        elif instruction.opname == "IMPORT_NAME":
            guarded = instruction.offset in optional
            facts.imports.append(_import(instructions, index, optional=guarded))
    facts.attributes.update(code.co_names)
    facts.handles_name_error |= "NameError" in code.co_names


def _import(instructions: list[dis.Instruction], index: int, *, optional: bool) -> CodeImport:
    before = [i.argval for i in instructions[max(0, index - 6) : index] if i.opname in _CONSTANTS]
    level, names = before[-2:] if len(before) >= 2 else (0, None)
    return CodeImport(
        module=str(instructions[index].argval),
        level=level if isinstance(level, int) else 0,
        names=tuple(names or ()),
        optional=optional,
    )
