"""What a deploy asks of the server's interpreters and libraries, checked before anything is sent.

Reads requirements and requirements files, takes wheels of the user's own along, and finds out
whether the version will run in the server's environment or in one of its own. Called by
`penstock.client.preflight` and `penstock.client.publish`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.client.local import needs
from penstock.client.models import ModelFile, hash_file
from penstock.codec.bundle import Blob, Interpreter
from penstock.core.errors import InterpreterMismatch, InvalidRequirement, MissingImports
from penstock.core.flow import Flow, Stage
from penstock.core.model_types import AnyType, PluginType
from penstock.core.numbers import place
from penstock.environments import requirements as lines
from penstock.environments.choice import choose
from penstock.environments.describe import EnvironmentInfo

_MINOR = re.compile(r"3\.\d{1,2}")


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        requirements: Names with versions, one each.
        wheels: Wheels to send along, by the manifest's description of them.
        python: Minor version as in `3.12`; empty for any that works.
    """

    requirements: list[str] = field(default_factory=list)
    wheels: dict[Path, Blob] = field(default_factory=dict)
    python: str = ""


def asked(
    requirements: Sequence[str] = (),
    file: str | os.PathLike[str] | None = None,
    python_version: str | float | None = None,
) -> Asked:
    """Return what the user asked for, checked.

    Args:
        requirements: As pip writes them, or paths of wheels.
        file: A file of such lines.
        python_version: As in `"3.12"`.

    Raises:
        InvalidRequirement: Something of it cannot be taken; the message says which and why.
    """
    if isinstance(requirements, str):
        lines.check(requirements)
    listed = [*requirements, *(lines.read_file(Path(file)) if file else ())]
    wheels = {Path(line).expanduser(): line for line in listed if lines.is_wheel(line)}
    named = lines.check([line for line in listed if not lines.is_wheel(line)])
    sent = {path: _wheel(path) for path in wheels}
    pins = [_pin_of(blob.name) for blob in sent.values()]
    return Asked(list(dict.fromkeys([*named, *pins])), sent, _minor(python_version))


def _minor(version: str | float | None) -> str:
    if version is None or version == "":
        return ""
    # 3.10, written as a number, is 3.1; there is no other Python that it could mean.
    text = "3.10" if version == 3.1 else str(version)
    if not _MINOR.fullmatch(text):
        raise InvalidRequirement(
            f"python_version is {version!r}.", hint='Write a minor version as a text: "3.12".'
        )
    return text


def _wheel(path: Path) -> Blob:
    try:
        return hash_file(path)
    except OSError as error:
        raise InvalidRequirement(
            f"The wheel {str(path)!r} cannot be read: {error.strerror}.",
            hint="Build it with `pip wheel --no-deps .` or `uv build --wheel`.",
        ) from None


def _pin_of(name: str) -> str:
    distribution, _, rest = name.partition("-")
    return f"{distribution}=={rest.partition('-')[0]}"


def own_python(
    flow: Flow,
    models: Mapping[str, ModelFile | None],
    wish: Asked,
    server: EnvironmentInfo,
) -> Interpreter | None:
    """Return the interpreter of the version's own environment; None when it has none.

    Raises:
        InterpreterMismatch: The server has no interpreter for the flow's bytecode; the message
            names the first function or model that has some.
    """
    others = [i for i in server.pythons if i.magic != server.interpreter.magic]
    number, role, what = next(_bytecode(flow, models), (None, None, ""))
    try:
        return choose(
            requirements=wish.requirements,
            python=wish.python,
            made_by=Interpreter.current() if what else None,
            server=server.interpreter,
            others=others,
            what=what,
        )
    except InterpreterMismatch as error:
        error.stage, error.function = number, role
        raise


def _bytecode(
    flow: Flow, models: Mapping[str, ModelFile | None]
) -> Iterator[tuple[int, str | None, str]]:
    """Yield stage, role and the beginning of a sentence for each part that holds bytecode."""
    for number, stage in flow.walk():
        model = models.get(place(number))
        code = isinstance(stage, Stage) and (model is None or stage.build is not None)
        for role in [*stage.functions(), *(["model"] if code else [])]:
            yield number, role, f"`{role}` of stage {number} is"
        if model is not None and model.carries_code:
            text = f"The model of stage {number} ({model.path.name}) holds Python code"
            yield number, None, text


def check_type(number: int, kind: AnyType, info: EnvironmentInfo) -> None:
    """Refuse a model type that the server cannot load, before its files are sent."""
    if isinstance(kind, PluginType):
        if kind.value in info.model_types:
            return
        what, hint = "a package that adds it", "Install the package that defines it"
    else:
        module, extra = needs(kind)
        if module in info.modules:
            return
        what, hint = f"the module {module!r}", f'Run: pip install "penstock[{extra}]"'
    raise MissingImports(
        f"Stage {number} has the model type {kind.name}, which needs {what}; the server does not "
        "have it.",
        stage=number,
        hint=f"{hint} in the server's environment, or add it to requirements.",
    )
