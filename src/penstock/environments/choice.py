"""Which environment a bundle needs: the server's own, or one of its own, and for which Python.

The client asks before anything is sent, the server when it is asked to deploy; both call `choose`
with what the server has. Then `wanted` says what goes into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from penstock.codec.bundle import Manifest
from penstock.core.errors import InterpreterMismatch
from penstock.core.interpreter import Interpreter
from penstock.environments.distributions import canonical, distribution_of, package_for
from penstock.environments.lock import Wanted
from penstock.environments.requirements import names_of

#: Distributions that hold the same modules: whoever asks for one does not get another besides.
_SAME = (
    {"opencv-python", "opencv-python-headless", "opencv-contrib-python",
     "opencv-contrib-python-headless"},
    {"xgboost", "xgboost-cpu"},
    {"tensorflow", "tensorflow-cpu"},
    {"onnxruntime", "onnxruntime-gpu"},
    {"psycopg2", "psycopg2-binary"},
    {"mlflow", "mlflow-skinny"},
)  # fmt: skip

#: Minor version of the oldest Python that workers run on.
OLDEST = 10

#: What holds the same without NVIDIA's libraries.
_WITHOUT_CUDA = {
    "xgboost": "xgboost-cpu",
    "tensorflow": "tensorflow-cpu",
    "onnxruntime-gpu": "onnxruntime",
}


def choose(
    *,
    requirements: Sequence[str],
    python: str,
    made_by: Interpreter | None,
    server: Interpreter,
    others: Sequence[Interpreter] = (),
    what: str = "The processing functions were",
) -> Interpreter | None:
    """Return the interpreter of the environment that a bundle needs; None for the server's own.

    Args:
        requirements: What the deployer asked for.
        python: Minor version that the deployer asked for, as in `3.12`; empty: any that works.
        made_by: The Python whose bytecode the bundle holds; None when it holds none.
        server: The server's own interpreter.
        others: Further interpreters of the server.
        what: Beginning of the message, with its verb.

    Raises:
        InterpreterMismatch: The server has no interpreter that can load the bytecode, or none of
            the version asked for; or the two exclude each other.
    """
    have = [server, *others]
    if made_by is not None and python and python != made_by.minor:
        raise InterpreterMismatch(
            f"python_version is {python!r}, but {what[0].lower()}{what[1:]} made by Python "
            f"{made_by.version}, whose bytecode no other version loads.",
            hint=_too_old(python) or f"Deploy from Python {python}, or leave python_version out.",
        )
    if made_by is not None:
        fits = [i for i in have if i.can_load_functions_of(made_by)]
    else:
        fits = [i for i in have if not python or i.minor == python]
    if not fits:
        raise _no_python(made_by, python, server, have, what)
    if fits[0] is server and not requirements:
        return None
    return fits[0]


def _too_old(python: str) -> str:
    """Return what to do about a version that no worker runs on; empty for any other."""
    if re.fullmatch(r"3\.\d", python) and int(python[2]) < OLDEST:
        return f"Leave python_version out: Penstock needs Python 3.{OLDEST} or newer."
    return ""


def _no_python(
    made_by: Interpreter | None,
    python: str,
    server: Interpreter,
    have: Sequence[Interpreter],
    what: str,
) -> InterpreterMismatch:
    versions = ", ".join(i.version for i in have)
    if made_by is None:
        return InterpreterMismatch(
            f"python_version is {python!r}, and the server has no such Python; it has {versions}.",
            hint=_too_old(python)
            or f"Ask for one of these, or install Python {python} on the server's machine and "
            "start the server again.",
            server=server.version,
        )
    also = "" if len(have) == 1 else f" (it also has {', '.join(i.version for i in have[1:])})"
    return InterpreterMismatch(
        f"{what} made by {made_by.implementation} {made_by.version}, but the server runs "
        f"{server.implementation} {server.version}{also}, which cannot load the bytecode.",
        hint=f"Deploy from Python {server.minor}, or install Python {made_by.minor} on the "
        "server's machine and start the server again: it builds an environment for it.",
        made_by=made_by.version,
        client=made_by.version,
        server=server.version,
    )


def wanted(
    manifest: Manifest,
    interpreter: Interpreter,
    model_modules: Iterable[str],
    server_packages: Mapping[str, str],
    *,
    cuda: bool,
) -> Wanted:
    """Return what the environment of a bundle holds.

    Besides what the deployer asked for, that is what its functions and models use: in the versions
    of the machine it was made on, as far as the requirements allow it.

    Args:
        manifest: The bundle.
        interpreter: What `choose` returned.
        model_modules: Top-level modules that load the models of its stages.
        server_packages: Distributions of the server's own environment.
        cuda: Whether NVIDIA's libraries may come along.
    """
    named = names_of(manifest.requirements)
    taken = named.union(*(same for same in _SAME if same & named))
    libraries: dict[str, str] = {}
    for name in _used_distributions(manifest):
        libraries.setdefault(name, manifest.packages.get(name, ""))
    for module in model_modules:
        found, version = distribution_of(module, server_packages)
        name = found or canonical(package_for(module, None))
        if not _has_one_of_its_kind(libraries, name):
            libraries.setdefault(name, version or "")
    for _number, stage in manifest.walk():
        libraries.update(stage.packages)
    preferred = {**manifest.packages, **libraries, "cloudpickle": manifest.cloudpickle}
    preferred["msgspec"] = server_packages.get("msgspec", "")
    preferred.setdefault("numpy", server_packages.get("numpy", ""))
    return Wanted(
        magic=interpreter.magic,
        requirements=tuple(manifest.requirements),
        libraries=tuple(sorted({_fitting(n, cuda) for n in libraries if n not in taken})),
        preferred={
            _fitting(name, cuda): _preferred(version, server_packages.get(name, ""))
            for name, version in preferred.items()
            if version and name not in named
        },
        wheels={wheel.name: wheel.sha256 for wheel in manifest.wheels},
    )


def _used_distributions(manifest: Manifest) -> list[str]:
    found = [
        canonical(imported.distribution)
        for _number, stage in manifest.walk()
        for entry in stage.functions().values()
        for imported in entry.imports
        if imported.distribution
    ]
    return [name for name in dict.fromkeys(found) if name != "penstock"]


def _has_one_of_its_kind(libraries: Mapping[str, str], name: str) -> bool:
    return any(name in same and not same.isdisjoint(libraries) for same in _SAME)


def _fitting(name: str, cuda: bool) -> str:
    return name if cuda else _WITHOUT_CUDA.get(name, name)


def _preferred(version: str, server: str) -> str:
    """Return the version to prefer; one with a label, as `2.9.1+cpu`, was chosen for the server."""
    return server if "+" in server else version.partition("+")[0]
