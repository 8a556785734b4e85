"""Whether a server has what a flow needs, before anything is sent.

Called by `penstock.client.preflight` with the server's own description of itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.core.errors import MissingImports
from penstock.environments.describe import EnvironmentInfo
from penstock.environments.distributions import package_for
from penstock.environments.pypi_names import COMPANIONS

#: Modules that a message names, at most.
_NAMED = 100


@dataclass(frozen=True)
class Need:
    """A module that one part of a flow needs.

    Attributes:
        stage: Stage number, from 1.
        role: `"pre"`, `"post"`, or None for the stage's model.
        module: Top-level module.
        distribution: The distribution it comes from on the client, if known.
        version: That distribution's version on the client.
    """

    stage: int
    role: str | None
    module: str
    distribution: str | None = None
    version: str | None = None

    @property
    def subject(self) -> str:
        """Who needs it, as the beginning of a sentence."""
        what = f"`{self.role}`" if self.role else "The model"
        return f"{what} of stage {self.stage}"


def as_saved(need: Need, saved_by: Mapping[str, str]) -> Need:
    """Return `need` with the version that the model itself says it was saved with, if it does."""
    version = saved_by.get(need.distribution or "")
    return replace(need, version=version) if version else need


def check(
    needs: Sequence[Need],
    server: EnvironmentInfo,
    *,
    travelling: Collection[str] = (),
    own: bool = False,
) -> None:
    """Raise `MissingImports` if an environment lacks needed modules; it names those it lacks.

    Args:
        needs: What the flow needs.
        server: What the environment has.
        travelling: Top-level modules that are sent along.
        own: Whether it is an environment of the version's own rather than the server's.
    """
    there = {*server.modules, *travelling}
    missing = [need for need in needs if need.module not in there][:_NAMED]
    if not missing:
        return
    sentences: dict[str, list[str]] = {}
    for need in missing:
        verb = "imports" if need.role else "refers to"
        sentences.setdefault(f"{need.subject} {verb}", []).append(f"`{need.module}`")
    whose = "its" if own else "the server's"
    text = " ".join(
        f"{start} {_and(modules)}, which {whose} environment does not have."
        for start, modules in sentences.items()
    )
    packages = sorted({package_for(need.module, need.distribution) for need in missing})
    asked = [*packages, *(extra for name in packages for extra in COMPANIONS.get(name, ()))]
    raise MissingImports(
        text,
        stage=missing[0].stage,
        function=missing[0].role,
        hint=_advice(asked, own=own),
        modules=sorted({need.module for need in missing}),
        packages=packages,
    )


def _advice(packages: Sequence[str], *, own: bool) -> str:
    listed = ", ".join(f'"{package}"' for package in packages)
    if own:
        return f"Add {listed} to requirements and deploy again."
    shell = " ".join(f"'{p}'" if set("<>=!") & set(p) else p for p in packages)
    return (
        f"Give requirements=[{listed}] to deploy: the version gets an environment with it. Or run "
        f"`pip install {shell}` in the server's environment and restart the server."
    )


def version_warnings(needs: Sequence[Need], server: EnvironmentInfo) -> list[str]:
    """Return a sentence per library whose version differs too much.

    For what a pickled model was saved with that is the minor version, for what functions import
    the major one.
    """
    found: dict[str, str] = {}
    for need in needs:
        there = server.packages.get(need.distribution or "")
        if not need.version or not there:
            continue
        pin = f'requirements=["{need.distribution}=={need.version}"]'
        if need.role:
            if _major(need.version) != _major(there):
                found.setdefault(
                    need.distribution or "",
                    f"{need.subject} uses {need.distribution} {need.version} here; the server has "
                    f"{there}. If it behaves differently, give {pin}.",
                )
        elif _minor(need.version) != _minor(there):
            found[need.distribution or ""] = (
                f"{need.subject} was saved with {need.distribution} {need.version}; the server has "
                f"{there}. If it does not load or answers differently, give {pin}, or save it "
                "with the server's version."
            )
    return list(found.values())


def model_mismatch(
    models: Sequence[tuple[int, Mapping[str, str]]], packages: Mapping[str, str], stage: int | None
) -> tuple[str, str] | None:
    """Return a sentence and a hint about a library that a pickled model was saved with.

    Args:
        models: Each stage's number, and version by distribution of what its model was saved with.
        packages: Version by distribution of where it was loaded.
        stage: The stage to look at, from 1; None for all.

    Returns:
        None if every library has the minor version that it was saved with.
    """
    for number, saved in models:
        differing = {
            name: (version, packages[name])
            for name, version in sorted(saved.items())
            if name in packages and _minor(version) != _minor(packages[name])
        }
        if not differing or stage not in (None, number):
            continue
        shown = _and([f"{name} {version}" for name, (version, _) in differing.items()])
        here = _and([f"{name} {there}" for name, (_, there) in differing.items()])
        pins = ", ".join(f'"{name}=={version}"' for name, (version, _) in differing.items())
        return (
            f"The model of stage {number} was saved with {shown}, and loaded with {here}.",
            f"Give requirements=[{pins}] to deploy, or save the model with the version here.",
        )
    return None


def _major(version: str) -> str:
    return version.partition(".")[0]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _and(words: Sequence[str]) -> str:
    unique = list(dict.fromkeys(words))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"
