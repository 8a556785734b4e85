"""`deploy`: the one call from a flow to an endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from penstock.client.conduit import Conduit, check_order
from penstock.client.endpoint import Endpoint

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.client.options import Given
    from penstock.core.hardware import Hardware


@overload
def deploy(
    flow: Sequence[Any],
    name: str,
    api_key: str | None = None,
    *,
    dry_run: Literal[False] = False,
    server: str | None = None,
    reference: Any = None,
    **options: Unpack[Given],
) -> Endpoint: ...


@overload
def deploy(
    flow: Sequence[Any],
    name: str,
    api_key: str | None = None,
    *,
    dry_run: Literal[True],
    server: str | None = None,
    reference: Any = None,
    **options: Unpack[Given],
) -> Conduit: ...


def deploy(
    flow: Sequence[Any],
    name: str,
    api_key: str | None = None,
    *,
    server: str | None = None,
    example: Any = None,
    example_files: Sequence[Any] = (),
    dry_run: bool = False,
    requirements: Sequence[str] = (),
    requirements_file: str | os.PathLike[str] | None = None,
    python_version: str | None = None,
    force_rebuild: bool = False,
    replicas: int | Literal["auto"] = "auto",
    min_replicas: int | None = None,
    max_replicas: int | None = None,
    cooldown: float | None = None,
    memory_limit: int | None = None,
    concurrency: int | None = None,
    network: Literal["all", "none"] = "all",
    timeout_s: float = 180.0,
    max_batch: int = 256,
    max_queue: int = 1024,
    threads: int | None = None,
    hardware: Hardware | str | None = None,
    cpu: int | None = None,
    memory: float | None = None,
    gpu: int = 1,
    secrets: Sequence[str] = (),
    auto_rollback: bool = True,
    activate: bool = True,
    check_locally: bool | None = None,
    project: str | None = None,
    quiet: bool = False,
    reference: Any = None,
    pair_files: bool = False,
    loggers: Sequence[Mapping[str, Any]] = (),
) -> Endpoint | Conduit:
    """Deploy a flow and return its endpoint, a `str` that is the URL and can be called.

    The same name makes the next version on the same URL; the version before it serves until the
    new one is loaded and has answered its example.

    The server is `server`, else the one `penstock.start()` found or started, else
    `PENSTOCK_SERVER`, else the profile's (see `penstock login`), else `http://127.0.0.1:8700`.
    The key is found in the same order; its environment variable is `PENSTOCK_API_KEY`.

    Args:
        flow: One stage `(model_type, path[, functions])` or a list of them. Paths may be `str` or
            `Path`; a fitted model may stand in place of one, and is saved in its library's safest
            format. Functions are `{"pre": f, "post": g}` with either or both, or a bare function
            for `post`.
        name: 1 to 20 lower-case letters, digits and inner hyphens; no word of the API's addresses,
            such as `runs` or `traffic`.
        api_key: Key with deploy scope.
        server: Address of the server.
        example: Data of a request that the new version must answer before it may serve.
        example_files: Files of that request.
        dry_run: Say what would be sent, load the flow and try the example here instead, send
            nothing, and return a `Conduit` to run it.
        requirements: Packages as pip writes them, or paths of wheels of your own. With any, the
            version runs in an environment of its own: these, and what its functions and models
            use besides, in the versions of this machine where the requirements leave a choice.
            Without, it runs with the server's libraries.
        requirements_file: A file of such lines, taken together with `requirements`.
        python_version: Minor version of the environment's Python, as in `"3.12"`. Functions travel
            as bytecode, so a flow that has some runs on the version it was deployed from.
        force_rebuild: Resolve and build the environment again, though nothing changed here.
        replicas: Worker processes; `"auto"` is one, and more while they help and cores are idle.
        min_replicas: Fewest worker processes; 0 lets the deployment sleep until it is called. This
            and the next two are the deployment's: they hold for later versions until changed.
        max_replicas: Most worker processes.
        cooldown: Seconds after the last call until there are `min_replicas` again.
        memory_limit: Bytes of private memory at which a worker is replaced.
        concurrency: Runs that one worker process has under way at once, 1 to 1024, because its
            functions wait for something; models are still called one at a time. 1 by default, 64
            for a flow with `async def` functions.
        network: What the functions may reach: `"all"`, or `"none"` to keep them from every other
            machine and service.
        timeout_s: Seconds a call may take from arrival to answer.
        max_batch: Most rows joined into one model call.
        max_queue: Calls that may be in hand: those that wait and those being worked on.
        threads: Threads a model call may use; as many as `cpu` by default, else 1.
        hardware: `penstock.hardware.CPU`, or a GPU by any name. By default a GPU is used where the
            server has one and a model can use it. Without a GPU everything runs on the CPU.
        cpu: Cores that one worker may keep busy: threads of torch, OpenMP, XGBoost and ONNX.
        memory: GiB of private memory that one worker may take, as `memory_limit` in bytes.
        gpu: GPUs of one worker. A version has no more workers than there are GPUs for.
        secrets: Names of the project's secrets that the functions may read with `get_secret`.
            Names that are written out in a call of it need not be repeated here.
        auto_rollback: Whether the version before takes over again when this one fails in its
            first minutes.
        activate: Whether the new version shall serve.
        check_locally: Run the example in this process too and require the same answer, numbers
            within 1e-4, before the version serves. By default it is done when this process has
            imported the models' libraries already, so that a deploy never waits for an import,
            and no `requirements` ask for others.
        project: Project to deploy to, for a key that may act in several.
        quiet: Print nothing.
        reference: Data points that calls are compared with from now on, such as a part of the
            training data; see `Endpoint.monitor`, which takes more.
        pair_files: Refuse (422) a request with files whose number is not that of its data points.
        loggers: Where predictions are logged: for each the arguments of `Conduit.add_logger`.

    Raises:
        InvalidDeploy: The flow cannot work; nothing was sent.
        NoKey, ServerUnreachable: There is no key, or no server answers.
        EnvironmentFailed: The environment cannot be built, or a library does not work in it; the
            text has the resolver's words. The version before it keeps serving.
        LoadFailed, ExampleFailed: The new version cannot serve; the text has the stage, the cause
            and the worker's last lines. The version before it keeps serving.
    """
    check_order("deploy(flow, name, api_key)", name, api_key, flow)
    conduit = Conduit(
        name,
        api_key,
        flow,
        server=server,
        example=example,
        example_files=example_files,
        requirements=requirements,
        requirements_file=requirements_file,
        python_version=python_version,
        force_rebuild=force_rebuild,
        replicas=replicas,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        cooldown=cooldown,
        memory_limit=memory_limit,
        concurrency=concurrency,
        network=network,
        timeout_s=timeout_s,
        max_batch=max_batch,
        max_queue=max_queue,
        threads=threads,
        hardware=hardware,
        cpu=cpu,
        memory=memory,
        gpu=gpu,
        secrets=secrets,
        auto_rollback=auto_rollback,
        activate=activate,
        check_locally=check_locally,
        project=project,
        quiet=quiet,
        pair_files=pair_files,
        loggers=loggers,
    )
    made = conduit.deploy(dry_run)
    if reference is not None and isinstance(made, Endpoint):
        made.monitor(reference)
    return made
