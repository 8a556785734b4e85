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
#: The function whose argument names a secret, how code loads it, and what may stand before the
#: argument.
_ASKING = "get_secret"
_USES = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_DEREF", "LOAD_CLASSDEREF",
     "LOAD_ATTR", "LOAD_METHOD", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FAST_BORROW"}
)  # fmt: skip
_CALLS = frozenset({"CALL", "CALL_FUNCTION", "CALL_METHOD"})
_FILLERS = frozenset({"PUSH_NULL", "CACHE", "EXTENDED_ARG", "PRECALL", "NOP"})
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
        secrets: Names given to `get_secret`; None stands for one that is computed.
    """

    imports: list[CodeImport] = field(default_factory=list)
    loads: dict[str, None] = field(default_factory=dict)
    stores: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    handles_name_error: bool = False
    secrets: dict[str | None, None] = field(default_factory=dict)


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
        if name == _ASKING and instruction.opname in _USES:
            facts.secrets[_first_argument(instructions, index)] = None
    facts.attributes.update(code.co_names)
    facts.handles_name_error |= "NameError" in code.co_names


def _first_argument(instructions: list[dis.Instruction], index: int) -> str | None:
    """Return the text that is given to the function loaded at `index`, if it is written out."""
    after = [i for i in instructions[index + 1 : index + 8] if i.opname not in _FILLERS][:2]
    if len(after) < 2 or after[0].opname not in _CONSTANTS or after[1].opname not in _CALLS:
        return None
    return after[0].argval if isinstance(after[0].argval, str) else None


def _import(instructions: list[dis.Instruction], index: int, *, optional: bool) -> CodeImport:
    before = [i.argval for i in instructions[max(0, index - 6) : index] if i.opname in _CONSTANTS]
    level, names = before[-2:] if len(before) >= 2 else (0, None)
    return CodeImport(
        module=str(instructions[index].argval),
        level=level if isinstance(level, int) else 0,
        names=tuple(names or ()),
        optional=optional,
    )
