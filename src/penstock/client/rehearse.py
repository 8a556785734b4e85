"""A dry run: what a deploy would send, and whether the flow works, found out in this process.

Called by `Conduit.deploy(dry_run=True)`. It takes the steps of `penstock.client.publish` that need
no server, in their order, so that what stops it would stop a deploy too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from penstock.client.live import saved
from penstock.client.local import load_here, may_be_there, short
from penstock.client.needs import asked
from penstock.client.options import Options
from penstock.client.preflight import Prepared, prepare
from penstock.client.progress import Reporter
from penstock.client.publish import report_bundle
from penstock.codec.captures import size_text
from penstock.core.errors import PenstockError
from penstock.core.flow import Flow
from penstock.core.names import RESERVED_DEPLOYMENT_NAMES

if TYPE_CHECKING:
    from penstock.flow.local import LocalFlow


@dataclass(frozen=True)
class Rehearsed:
    """A flow that was loaded here, and what its example gave; None without one."""

    flow: LocalFlow
    result: Any = None


def rehearse(flow: Flow, name: str, options: Options) -> Rehearsed:
    """Prepare a deploy of `flow`, load it here and try its example.

    Raises:
        InvalidDeploy: The flow cannot work.
        MissingFramework: A model's library is not installed here.
        PenstockError: A model does not load, or the flow fails on its example.
    """
    wish = asked(options.requirements, options.requirements_file, options.python_version)
    reporter = Reporter(options.quiet)
    reporter.step(f"Dry run of {name}: everything happens here")
    with saved(flow) as ready:
        prepared = prepare(
            ready, wish, options.example, options.example_files, pair_files=options.pair_files
        )
        report_bundle(prepared, options, reporter)
        for text in _open_questions(name, prepared, options):
            reporter.warn(text)
        sent = prepared.manifest.blobs().values()
        files = "1 file" if len(sent) == 1 else f"{len(sent)} files"
        size = size_text(sum(blob.size for blob in sent))
        reporter.step(f"A deploy sends {files} ({size}), less what the server has")
        loaded = load_here(
            ready, options.model_threads, on_gpu=options.on_gpu, pair_files=options.pair_files
        )
    reporter.step("The flow loads here")
    return Rehearsed(loaded, _answer(loaded, options, reporter))


def _answer(loaded: LocalFlow, options: Options, reporter: Reporter) -> Any:
    if not options.has_example:
        return None
    try:
        result = loaded.run(options.example, options.example_files)
    except PenstockError as error:
        if options.check_locally or not may_be_there(error):
            raise
        reporter.warn(f"The example cannot be answered here: {error.message}")
        return None
    reporter.step(f"The example gives {short(result)}")
    return result


def _open_questions(name: str, prepared: Prepared, options: Options) -> Iterator[str]:
    """Yield what only a server can say."""
    if name in RESERVED_DEPLOYMENT_NAMES:
        yield f"{name!r} is a reserved word: no new deployment can have it as its name."
    imported = {
        entry.module.partition(".")[0]
        for _, stage in prepared.manifest.walk()
        for function in stage.functions().values()
        for entry in function.imports
    }
    for module in sorted(imported):
        if find_spec(module) is None:
            yield f"`{module}` is not installed here; a deploy asks whether the server has it."
    if prepared.manifest.requirements or options.python_version:
        yield "The environment is not built: the flow is tried with the libraries that are here."
