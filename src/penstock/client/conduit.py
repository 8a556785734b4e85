"""`Conduit`: a named flow that can be run here and deployed.

`deploy` makes one for each call; users make one to try a flow before they deploy it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from penstock.client.config_file import read_config, write_config
from penstock.client.endpoint import Endpoint
from penstock.client.given_flow import moved, stages_of
from penstock.client.local import load_here
from penstock.client.options import options_of
from penstock.client.publish import publish
from penstock.client.rehearse import rehearse
from penstock.core.errors import InvalidCall, InvalidFlow, MissingModelFile
from penstock.core.flow import Flow
from penstock.core.loggers import LoggerSpec, LoggingPlatform, logger_spec
from penstock.core.model_types import AnyType
from penstock.core.names import check_deployment_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.client.options import Given
    from penstock.flow.local import LocalFlow


class Conduit:
    """A named flow. `load` and `run` work in this process, `deploy` on a server.

    Args:
        name: Name of the deployment: 1 to 20 lower-case letters, digits and inner hyphens.
        api_key: Key for the server; found as `penstock.deploy` says when missing.
        flow: Stages `(model_type, path[, functions])`; more can be added with `add_model`.
        server: Address of the server; found as `penstock.deploy` says when missing.
        from_json: A file of `create_json_config`: it gives name, flow, loggers and options, where
            arguments do not give them. Reading it runs the code of its functions.
        **options: Keyword arguments of `penstock.deploy` from `example` on.

    Attributes:
        name: Name of the deployment.
        flow: The stages, as given.
        loggers: Where predictions are logged; see `add_logger`.
        endpoint: The endpoint after `deploy`, None before.
        example_result: What the example gave in the last dry run, None before.

    Raises:
        InvalidName: The name is not legal.
        InvalidFlow, InvalidStage, InvalidSignature: The flow cannot work.
        InvalidCall: The arguments are mixed up.
    """

    def __init__(
        self,
        name: str = "",
        api_key: str | None = None,
        flow: Sequence[Any] | None = None,
        *,
        server: str | None = None,
        from_json: str | os.PathLike[str] | None = None,
        **options: Unpack[Given],
    ) -> None:
        check_order("Conduit(name, api_key, flow)", name, api_key, flow)
        loggers = [logger_spec(**given) for given in options.pop("loggers", ())]
        if from_json:
            saved = read_config(Path(from_json))
            name, flow = name or saved.name, saved.flow if flow is None else flow
            loggers = loggers or saved.loggers
            options = cast("Given", {**saved.options, **options})
        self.loggers: list[LoggerSpec] = loggers
        self.name = check_deployment_name(name, is_new=False)  # the server knows which there are
        self.flow: list[Any] = stages_of(flow)
        self.endpoint: Endpoint | None = None
        self.example_result: Any = None
        self._api_key = api_key
        self._server = server
        self._options = options_of(options)
        self._loaded: LocalFlow | None = None
        self._check_early()

    def __repr__(self) -> str:
        number = len(self.flow)
        at = f", endpoint={self.endpoint.url!r}" if self.endpoint is not None else ""
        return f"Conduit({self.name!r}, {number} stage{'' if number == 1 else 's'}{at})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the key and the loaded models."""
        return {**self.__dict__, "_api_key": None, "_loaded": None}

    def add_model(self, model_type: AnyType, path: Any, functions: Any = None) -> None:
        """Append a stage.

        Args:
            model_type: A member of `penstock.model_type`.
            path: The model's file or folder, or the model itself.
            functions: `{"pre": f, "post": g}` with either or both, or a bare function for `post`.

        Raises:
            InvalidStage, InvalidSignature: The stage cannot work; nothing is appended.
        """
        stage = (model_type, path) if functions is None else (model_type, path, functions)
        before = self.flow
        self.flow = [*before, stage]
        try:
            self._check_early()
        except BaseException:
            self.flow = before
            raise
        self._loaded = None

    def add_logger(
        self,
        platform: LoggingPlatform | str = "parquet",
        platform_authentication: Mapping[str, str] | None = None,
        features: Sequence[str] = (),
        targets: Sequence[str] = (),
        platform_args: Mapping[str, Any] | None = None,
        log_ms: bool = False,
    ) -> None:
        """Have the predictions of the next deploy logged, one row for each data point.

        The server does it beside the calls: no request waits for a logger or fails because of one.

        Args:
            platform: `"parquet"`, files in the server's data folder; `"arize"`; or a platform that
                a package on the server adds.
            platform_authentication: What the platform asks for, such as `{"api_key": "$KEY"}`. Each
                value is `"$NAME"`, the server's environment variable `PENSTOCK_LOGGER_NAME`: keys
                are in no program and no record.
            features: Names of a data point's values, in their order.
            targets: Names of a result's values, in their order.
            platform_args: Further arguments of the platform.
            log_ms: Give a platform that takes times as numbers milliseconds instead of seconds.

        Raises:
            InvalidSetting: An argument is of the wrong kind, or a key is written out.
        """
        spec = logger_spec(
            platform, platform_authentication, features, targets, platform_args, log_ms
        )
        self.loggers.append(spec)

    def create_json_config(self, filename: str | os.PathLike[str]) -> Path:
        """Write the conduit to a JSON file, for `Conduit(from_json=…)`, and return its path.

        The file has name, flow, the functions by value with their source text, loggers and options;
        never the key. Paths of models are relative to the file where they lie beside it; models
        that are objects are saved beside it, in `<name of the file>-models`.

        Raises:
            InvalidStage: An object cannot be saved.
            InvalidSetting: An option has no JSON form.
            CaptureNotPicklable: A function uses a value that cannot travel.
        """
        path = Path(filename)
        write_config(path, self.name, _parsed(self.flow), self._options.given(), self.loggers)
        return path

    def load(
        self, directory: str | os.PathLike[str] | None = None, direct_from_flow: bool = False
    ) -> Conduit:
        """Load the models in this process and return the conduit.

        Args:
            directory: Folder that holds the model files, each under the last part of its path.
                Without it the paths are used as given.
            direct_from_flow: Use the paths as given also when there is a directory.

        Raises:
            InvalidFlow: The flow is empty.
            MissingModelFile: A model file is not there.
            MissingFramework: A model's library is not installed here.
        """
        stages = self.flow
        if directory is not None and not direct_from_flow:
            stages = [moved(stage, Path(directory)) for stage in stages]
        self._loaded = load_here(
            _parsed(stages),
            self._options.model_threads,
            on_gpu=self._options.on_gpu,
            pair_files=self._options.pair_files,
        )
        return self

    def run(
        self, data: Any, files: Sequence[Any] = (), parameters: dict[str, Any] | None = None
    ) -> Any:
        """Return what a server would answer as `result`, computed in this process.

        The models are loaded first if they are not yet.

        Args:
            data: The request's data.
            files: The request's files: paths, bytes, binary file objects, or
                `(name, bytes[, content type])`.
            parameters: Values for this run only.

        Raises:
            PenstockError: The error a server would answer.
        """
        loaded = self._loaded
        if loaded is None:
            loaded = self.load()._loaded  # noqa: SLF001 - `load` returns this very object
        assert loaded is not None
        return loaded.run(data, files, parameters)

    @overload
    def deploy(self, dry_run: Literal[False] = False) -> Endpoint: ...

    @overload
    def deploy(self, dry_run: bool) -> Endpoint | Conduit: ...

    def deploy(self, dry_run: bool = False) -> Endpoint | Conduit:
        """Deploy the flow and return its `Endpoint`; `penstock.deploy` says what may be raised.

        Args:
            dry_run: Say what would be sent, load the models and try the example here instead,
                send nothing, and return the conduit.
        """
        flow = _parsed(self.flow)
        if dry_run:
            rehearsed = rehearse(flow, self.name, self._options)
            self._loaded, self.example_result = rehearsed.flow, rehearsed.result
            return self
        options = dataclasses.replace(self._options, loggers=tuple(self.loggers))
        self.endpoint = publish(flow, self.name, self._api_key, self._server, options)
        return self.endpoint

    def with_options(
        self, *, name: str | None = None, server: str | None = None, **options: Unpack[Given]
    ) -> Conduit:
        """Return the same conduit, not loaded, with another name, server or other options."""
        own = cast("Given", {**self._options.given(), **options})
        made = Conduit(name or self.name, self._api_key, self.flow, **own)
        made.loggers = [*self.loggers]
        made._server = server or self._server
        return made

    def _check_early(self) -> None:
        """Raise now what can be known now: files may come later, so they may be missing."""
        try:
            if self.flow:
                Flow.parse(self.flow)
        except MissingModelFile:
            return


def check_order(form: str, name: object, api_key: object, flow: object) -> None:
    """Raise `InvalidCall` when the arguments are of kinds that only another order explains."""
    wrong = None
    if isinstance(flow, (str, os.PathLike)):
        wrong = f"the flow is the {type(flow).__name__} {str(flow)[:60]!r}"
    elif isinstance(flow, Conduit):
        wrong = "the flow is a Conduit; call its deploy() instead"
    elif flow is not None and callable(flow):
        wrong = "the flow is a function"
    elif not isinstance(name, str):
        wrong = f"the name is a {type(name).__name__}"
    elif api_key is not None and not isinstance(api_key, str):
        wrong = f"the API key is a {type(api_key).__name__}"
    if wrong:
        raise InvalidCall(
            f"{wrong[0].upper()}{wrong[1:]}.",
            hint=f"The order is {form}, and a flow is a list of stages "
            '(model_type.TORCH, "model.pt"[, {"pre": f, "post": g}]).',
        )


def _parsed(stages: Sequence[Any]) -> Flow:
    if not stages:
        raise InvalidFlow(
            "The flow is empty.", hint="Give it stages, or call add_model(model_type, path)."
        )
    return Flow.parse(list(stages))
