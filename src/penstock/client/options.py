"""How a flow is deployed: the options of `penstock.deploy` and of a `Conduit`, and what they mean.

Used by `penstock.client.conduit`; `penstock.client.publish` sends what they say to the server.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypedDict

from penstock.client.quantities import checked_numbers
from penstock.core.errors import InvalidCall, InvalidSetting
from penstock.core.flow import Flow
from penstock.core.hardware import Hardware, hardware_name, wants_gpu
from penstock.core.loggers import LoggerSpec
from penstock.core.secret_records import check_secret_name

#: Arguments of the hosted original that have another name here.
RENAMED = {"num_gpus": "gpu"}

#: Runs at once in one worker, for a flow with `async` functions when no number is given.
ASYNC_CONCURRENCY = 64


class Given(TypedDict, total=False):
    """The options as keyword arguments, for type checkers; see `Options`."""

    example: Any
    example_files: Sequence[Any]
    requirements: Sequence[str]
    requirements_file: str | os.PathLike[str] | None
    python_version: str | None
    force_rebuild: bool
    replicas: int | Literal["auto"]
    min_replicas: int | None
    max_replicas: int | None
    cooldown: float | None
    memory_limit: int | None
    concurrency: int | None
    network: Literal["all", "none"]
    timeout_s: float
    max_batch: int
    max_queue: int
    threads: int | None
    cpu: int | None
    memory: float | None
    hardware: Hardware | str | None
    gpu: int
    secrets: Sequence[str]
    auto_rollback: bool
    activate: bool
    check_locally: bool | None
    project: str | None
    quiet: bool
    pair_files: bool
    loggers: Sequence[Any]


@dataclass(frozen=True)
class Options:
    """How a flow is deployed; `penstock.deploy` documents each."""

    example: Any = None
    example_files: Sequence[Any] = ()
    requirements: Sequence[str] = ()
    requirements_file: str | os.PathLike[str] | None = None
    python_version: str | None = None
    force_rebuild: bool = False
    replicas: int | Literal["auto"] = "auto"
    min_replicas: int | None = None
    max_replicas: int | None = None
    cooldown: float | None = None
    memory_limit: int | None = None
    concurrency: int | None = None
    network: Literal["all", "none"] = "all"
    timeout_s: float = 180.0
    max_batch: int = 256
    max_queue: int = 1024
    threads: int | None = None
    cpu: int | None = None
    memory: float | None = None
    hardware: Hardware | str | None = None
    gpu: int = 1
    secrets: Sequence[str] = ()
    auto_rollback: bool = True
    activate: bool = True
    check_locally: bool | None = None
    project: str | None = None
    quiet: bool = False
    pair_files: bool = False
    loggers: Sequence[LoggerSpec] = ()

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, by name; loggers are left out."""
        usual = Options()
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        mine.pop("loggers")
        return {name: v for name, v in mine.items() if v is not getattr(usual, name)}

    @property
    def has_example(self) -> bool:
        """Whether there is an example to try."""
        return self.example is not None or bool(self.example_files)

    def check(self) -> None:
        """Raise `InvalidSetting` for what can be known to be wrong here."""
        hardware_name(self.hardware)
        if isinstance(self.secrets, str):
            raise InvalidSetting(f"secrets is the text {self.secrets!r}; give a list of names.")
        for name in self.secrets:
            check_secret_name(name)
        if self.memory is not None and self.memory_limit is not None:
            raise InvalidSetting("memory and memory_limit both limit the memory; give one of them.")
        if self.network not in {"all", "none"}:
            raise InvalidSetting(f"network is {self.network!r}; it must be 'all' or 'none'.")

    @property
    def model_threads(self) -> int:
        """Threads that a model call may use."""
        return self.threads or math.ceil(self.cpu or 1)

    @property
    def memory_limit_bytes(self) -> int | None:
        """Bytes that a worker may take."""
        return self.memory_limit if self.memory is None else int(self.memory * 2**30)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is asked for by name."""
        return wants_gpu(hardware_name(self.hardware), can_use=False)

    def settings(self, flow: Flow, secrets: Sequence[str] = ()) -> dict[str, Any]:
        """Return what the server keeps with a version of `flow` that uses `secrets`."""
        names = ("replicas", "timeout_s", "max_batch", "max_queue", "auto_rollback", "gpu")
        kept = {name: getattr(self, name) for name in names}
        concurrency = self.concurrency
        if concurrency is None:
            concurrency = ASYNC_CONCURRENCY if flow.waits else 1
        return {
            **kept,
            "threads": self.model_threads,
            "memory_limit_bytes": self.memory_limit_bytes,
            "concurrency": concurrency,
            "loggers": [dataclasses.asdict(spec) for spec in self.loggers],
            "network": self.network,
            "hardware": hardware_name(self.hardware),
            "secrets": list(dict.fromkeys([*self.secrets, *secrets])),
        }

    def scaling(self) -> dict[str, Any]:
        """Return what the server keeps with the deployment: the limits that were given."""
        limits = {
            "min_replicas": self.min_replicas,
            "max_replicas": self.max_replicas,
            "cooldown_s": self.cooldown,
        }
        return {name: value for name, value in limits.items() if value is not None}


def options_of(given: Given) -> Options:
    """Return checked options; None stands for what is usual.

    Raises:
        InvalidCall: There is no such argument.
        InvalidSetting: A value cannot be right.
    """
    known = Options.__dataclass_fields__
    for name in given:
        if name not in known:
            usual = RENAMED.get(name) or next(iter(get_close_matches(name, known, 1)), "")
            meant = f"Did you mean {usual!r}? " if usual else ""
            raise InvalidCall(
                f"There is no argument {name!r}.",
                hint=f"{meant}The options are {', '.join(known)}.",
            )
    said = {name: value for name, value in given.items() if value is not None}
    options = Options(**checked_numbers(said))
    options.check()
    return options
