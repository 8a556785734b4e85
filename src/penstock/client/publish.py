"""The steps of a deploy, from a checked flow to an endpoint that serves it.

Called by `Conduit.deploy`. Nothing is sent before everything that can be checked here is checked;
nothing is activated before the new version answered its example as this process did.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import Any

import msgspec

from penstock.client.config import Target, resolve
from penstock.client.endpoint import Endpoint
from penstock.client.live import saved
from penstock.client.local import difference, expected_answer, frameworks_in_use
from penstock.client.needs import Asked, asked
from penstock.client.options import Options
from penstock.client.preflight import Prepared, prepare
from penstock.client.progress import Reporter
from penstock.client.responses import as_told
from penstock.client.session import Session, session_for
from penstock.client.targets import project_of
from penstock.client.upload import upload
from penstock.codec.captures import size_text
from penstock.codec.request import encode_request
from penstock.core.errors import (
    ExampleFailed,
    InvalidName,
    MethodNotAllowed,
    NotFound,
    UnexpectedAnswer,
)
from penstock.core.flow import Flow
from penstock.core.names import check_deployment_name
from penstock.environments.describe import EnvironmentInfo

#: Longest example that the curl line shows.
SHOWN_EXAMPLE = 300


def publish(
    flow: Flow, name: str, api_key: str | None, server: str | None, options: Options
) -> Endpoint:
    """Deploy `flow` under `name` and return its endpoint.

    Raises:
        InvalidDeploy: The flow cannot work; nothing was sent.
        ClientError: There is no key, or no server answers.
        EngineError: The server could not load the version or it failed its example; the version
            before it keeps serving.
    """
    wish = asked(options.requirements, options.requirements_file, options.python_version)
    target = resolve(api_key, server)
    session = session_for(target)
    reporter = Reporter(options.quiet)
    project = options.project or project_of(session, target.project)
    reporter.step(f"Server {session.server}, project {project}")
    _check_name(session, project, name)
    environment = _environment(session)
    with saved(flow, environment.modules) as ready:
        return _publish(ready, name, session, target, project, environment, options, wish, reporter)


def _publish(
    flow: Flow,
    name: str,
    session: Session,
    target: Target,
    project: str,
    environment: EnvironmentInfo,
    options: Options,
    wish: Asked,
    reporter: Reporter,
) -> Endpoint:
    """Deploy a flow whose models are all files."""
    prepared = prepare(
        flow,
        wish,
        options.example,
        options.example_files,
        environment,
        pair_files=options.pair_files,
    )
    report_bundle(prepared, options, reporter)
    checked, expected = _answer_here(flow, options, reporter, bool(wish.requirements))
    _upload(session, project, prepared, reporter)
    body = {
        "manifest": msgspec.to_builtins(prepared.manifest),
        "settings": options.settings(flow, prepared.secrets),
        "scaling": options.scaling(),
        "activate": options.activate and not checked,
    }
    if options.force_rebuild:
        body["force_rebuild"] = True
    ready = _create(session, f"/v1/{project}/{name}/versions", body, reporter)
    endpoint = Endpoint(
        str(ready["endpoint"]),
        target.api_key,
        version=int(ready["version"]["number"]),
        timeout_s=options.timeout_s,
    )
    if checked:
        _compare(endpoint, options, expected, reporter)
    reporter.endpoint(endpoint.url, curl_line(endpoint.url, flow.uses_files, options))
    return endpoint


def report_bundle(prepared: Prepared, options: Options, reporter: Reporter) -> None:
    """Show the models, what the functions take along, and the secrets that they may read."""
    for number, stage in prepared.manifest.walk():
        size = size_text(stage.model.size)
        code = ", runs code on load" if stage.runs_code else ""
        # The title of branches says which kind they are.
        title = stage.title if stage.branches else f"{stage.model_type} {stage.title}"
        reporter.step(f"Stage {number}: {title} ({size}{code})")
    for line in prepared.captured:
        reporter.detail(line)
    for warning in prepared.warnings:
        reporter.warn(warning)
    declared = dict.fromkeys([*options.secrets, *prepared.secrets])
    if declared:
        reporter.step(f"Secrets: {', '.join(declared)}")


def _check_name(session: Session, project: str, name: str) -> None:
    """Raise `InvalidName` for a reserved word, unless a deployment had it before it was one."""
    try:
        check_deployment_name(name)
    except InvalidName:
        with contextlib.suppress(NotFound, MethodNotAllowed):
            session.get(f"/v1/{project}/{name}/versions")
            return
        raise


def _environment(session: Session) -> EnvironmentInfo:
    """Return what the server has, so that what it lacks is found before anything is sent."""
    try:
        return msgspec.convert(session.get("/v1/environment"), EnvironmentInfo)
    except msgspec.ValidationError as error:
        raise UnexpectedAnswer(
            f"The server describes its environment in another form: {error}.",
            hint="Install the same version of penstock on both sides.",
        ) from None


def _upload(session: Session, project: str, prepared: Prepared, reporter: Reporter) -> None:
    sent = upload(session, project, prepared.manifest, prepared.blobs, reporter)
    known = ""
    if sent.known_files:
        known = f", {sent.known_files} ({size_text(sent.known_size)}) already there"
    files = "1 file" if sent.files == 1 else f"{sent.files} files"
    reporter.step(f"Uploaded {files} ({size_text(sent.size)}){known}")


def _create(
    session: Session, path: str, body: dict[str, Any], reporter: Reporter
) -> dict[str, Any]:
    """Make the version and return the event that says it is ready."""
    with contextlib.closing(_Steps(reporter)) as steps, session.events(path, body) as events:
        for event in events:
            kind = event.get("event")
            if kind == "step":
                steps.step(str(event.get("name")), str(event.get("message")))
            elif kind == "log":
                steps.line(str(event.get("line")))
            elif kind == "failed":
                error = as_told(event["error"])
                error.facts["logs"] = event.get("logs") or error.facts.get("logs") or []
                raise error
            elif kind == "ready":
                return event
    raise UnexpectedAnswer(
        "The server ended its report before it said whether the version is ready.",
        hint="Look at the server's log, and at endpoint.versions().",
    )


class _Steps:
    """Shows the steps of a deploy; building an environment, which may take long, as work."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._show = reporter.detail

    def step(self, name: str, message: str) -> None:
        """Show that a step begins."""
        self.close()
        if name == "environment":
            self._reporter.begin_work(message)
            self._show = self._reporter.work
        else:
            self._reporter.step(message)

    def line(self, text: str) -> None:
        """Show a line of the step."""
        self._show(text)

    def close(self) -> None:
        """End what is shown of the step."""
        self._reporter.end_work()
        self._show = self._reporter.detail


def _answer_here(
    flow: Flow, options: Options, reporter: Reporter, other_libraries: bool
) -> tuple[bool, Any]:
    """Return whether the example was answered in this process, and its answer.

    With `other_libraries` than this process has, the answers need not be the same.
    """
    wanted = options.check_locally
    if wanted is None and other_libraries:
        return False, None
    if wanted is False or not options.has_example or not (wanted or frameworks_in_use(flow)):
        return False, None
    answer = expected_answer(flow, options)
    if answer[0]:
        reporter.step("The example was answered here")
    return answer


def _compare(endpoint: Endpoint, options: Options, expected: Any, reporter: Reporter) -> None:
    """Require the answer of this process from the new version, then let it serve."""
    number = endpoint.version or 0
    served = endpoint.call_version(number, options.example, list(options.example_files))
    differs = difference(expected, served.result)
    if differs is not None:
        raise ExampleFailed(
            f"Version {number} of {endpoint.name} answers the example differently than the flow "
            f"does here: {differs}.",
            hint="Compare the library versions of both sides; give check_locally=False if the "
            f"answer changes from call to call. endpoint.activate({number}) serves it anyway.",
            run_id=served.run_id,
        )
    reporter.step("The server gave the same answer")
    if options.activate:
        endpoint.activate(number)
        reporter.step("The new version serves")


def _short(example: Any, *, whole: bool) -> str:
    """Return the example as JSON, or its first data point where that is too long."""
    if example is None:
        return "[]"
    text = encode_request(example).to_bytes()
    if len(text) > SHOWN_EXAMPLE and not whole:
        rows = msgspec.json.decode(text)
        text = msgspec.json.encode(rows[:1]) if isinstance(rows, list) else text
    return text.decode() if len(text) <= SHOWN_EXAMPLE else "[]"


def curl_line(url: str, uses_files: bool, options: Options) -> str:
    """Return a command that calls the endpoint with as much of the example as one can read.

    The key is named, not shown.
    """
    body = _short(options.example, whole=uses_files)
    line = f'curl {url} -H "Authorization: $PENSTOCK_API_KEY"'
    if not uses_files:
        return f"{line} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    names = [str(f) for f in options.example_files if isinstance(f, (str, os.PathLike))]
    parts = [f"-F {shlex.quote(f'files=@{name}')}" for name in names or ["a.png"]]
    return f"{line} -F {shlex.quote(f'data={body}')} {' '.join(parts)}"
