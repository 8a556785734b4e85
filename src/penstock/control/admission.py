"""Whether an uploaded version may be tried at all: checks that need no worker.

Called by `penstock.control.deploys` before anything is recorded. Each check raises one error that
names the stage, function or file and says what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from penstock.codec.bundle import FunctionEntry, Manifest
from penstock.control.database import Database
from penstock.core.errors import BlobMissing, InvalidManifest, InvalidName, InvalidSetting
from penstock.core.hardware import hardware_name
from penstock.core.limits import OF_VERSIONS, check_within
from penstock.core.model_types import ModelType, is_type_name
from penstock.core.names import check_deployment_name
from penstock.core.records import VersionSettings
from penstock.core.secret_records import MAX_DECLARED
from penstock.environments.check import Need, check
from penstock.environments.describe import EnvironmentInfo
from penstock.stores.loggers import check_logger, check_platform

#: Libraries that may be imported before the fork: importing them starts no thread that a forked
#: worker would miss.
FORK_SAFE = frozenset(
    {"PIL", "joblib", "numpy", "onnxruntime", "pandas", "scipy", "sklearn", "torch", "xgboost"}
)

#: Files that a message names, and that its facts list.
_NAMED, _LISTED = 20, 1000


async def check_name(database: Database, project: str, name: str) -> None:
    """Raise `InvalidName` if no deployment can have this name, or no new one."""
    try:
        check_deployment_name(name)
    except InvalidName:
        check_deployment_name(name, is_new=False)
        if await database.call(database.records.get_deployment, project, name) is None:
            raise


def check_settings(settings: VersionSettings) -> None:
    """Raise `InvalidSetting` if a setting is out of range."""
    for name, limits in OF_VERSIONS.items():
        value = getattr(settings, name)
        if value is not None and value != "auto":
            check_within(name, value, limits)
    hardware_name(settings.hardware)
    if len(settings.secrets) > MAX_DECLARED:
        raise InvalidSetting(f"A deployment may declare {MAX_DECLARED} secrets at most.")


def check_loggers(settings: VersionSettings, environ: Mapping[str, str]) -> None:
    """Raise `InvalidSetting` if a logger has a key written out or is not possible here."""
    for spec in settings.loggers:
        check_platform(spec.platform)
        spec.check_references()
        check_logger(spec.resolved(environ))


def check_model_types(manifest: Manifest, plugins: Collection[str]) -> None:
    """Raise `InvalidManifest` if a stage has a model type this server does not know.

    Args:
        manifest: The bundle's manifest.
        plugins: The types that installed packages add. Requirements may bring others.
    """
    known = {kind.value for kind in ModelType} | set(plugins)
    for number, stage in manifest.walk():
        named = stage.model_type in known or stage.branches is not None
        if not named and not (manifest.requirements and is_type_name(stage.model_type)):
            raise InvalidManifest(
                f"Stage {number} has the model type {stage.model_type!r}, which this server does "
                "not know.",
                stage=number,
                hint=f"It knows {', '.join(sorted(known))}. Install the package that adds it "
                "beside the server.",
            )


def check_blobs(manifest: Manifest, missing: Sequence[str]) -> None:
    """Raise `BlobMissing` naming the files of `missing` (SHA-256s), if any."""
    if not missing:
        return
    blobs = manifest.blobs()
    names = [blobs[sha256].name for sha256 in missing[:_NAMED] if sha256 in blobs]
    names += ["…"] if len(missing) > _NAMED else []
    raise BlobMissing(
        f"The server does not have {len(missing)} of the bundle's files: {', '.join(names)}.",
        hint="Upload them, then send the manifest again.",
        sha256=list(missing[:_LISTED]),
    )


def check_imports(manifest: Manifest, installed: EnvironmentInfo, *, own: bool = False) -> None:
    """Raise `MissingImports` if a function imports a module that its environment does not have.

    For the server's environment the client has checked this already, unless it is another client;
    what an environment of the version's `own` has is known only once it is built.
    """
    travelling = {module.path.split("/")[0].removesuffix(".py") for module in manifest.modules}
    needs = [
        Need(number, role, i.module.split(".")[0], i.distribution, i.version)
        for number, role, entry in functions_of(manifest)
        for i in entry.imports
    ]
    check(needs, installed, travelling=travelling, own=own)


def functions_of(manifest: Manifest) -> Iterator[tuple[int, str, FunctionEntry]]:
    """Yield stage number, role (`"model"`, `"pre"`, `"post"`, …) and entry of every function."""
    for number, stage in manifest.walk():
        for role, entry in stage.functions().items():
            yield number, role, entry


def model_modules(manifest: Manifest, by_model_type: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the top-level modules that load the models of the stages, each once."""
    wanted = [n for _number, s in manifest.walk() for n in by_model_type.get(s.model_type, ())]
    return list(dict.fromkeys(wanted))


def preload_modules(
    manifest: Manifest, by_model_type: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the modules to import before workers are forked, sorted.

    Those that the model types need, and those of `FORK_SAFE` that the functions import.
    """
    wanted: set[str] = set()
    for _number, stage in manifest.walk():
        wanted.update(by_model_type.get(stage.model_type, ()))
    for _number, _role, entry in functions_of(manifest):
        tops = {imported.module.split(".")[0] for imported in entry.imports}
        wanted.update(tops & FORK_SAFE)
    return tuple(sorted(wanted))
