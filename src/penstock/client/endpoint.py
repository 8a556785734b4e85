"""`Endpoint`: the URL that `deploy` returns, with everything one does to it.

It is a `str`, so it prints, joins and compares as the URL. It keeps the key it was deployed with
for its own calls only: no text form and no pickle holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.client.answers import Answer, Version, read_server_timing
from penstock.client.config import Target, resolve
from penstock.client.monitoring import reference_rows, truths_of
from penstock.client.responses import error_of, json_of
from penstock.client.run import Run, Runs
from penstock.client.session import CHANGE_S, MARGIN_S, Session, session_for
from penstock.client.submit import Files, submit_each, submit_one
from penstock.codec.request import encode_request
from penstock.core.errors import Conflict, InvalidCall, UnexpectedAnswer

_URL = re.compile(r"(https?://.+?)/v1/([a-z0-9-]+)/([a-z0-9-]+)/predict/?")


class Endpoint(str):
    """The URL of a deployment, which can be called.

    Args:
        url: The URL, `http://host/v1/<project>/<name>/predict`.
        api_key: Key for the calls; found in the environment or the profile when missing.
        version: Number of the version that serves, as far as known.
        timeout_s: The server's limit for a call to it, in seconds, as far as known.

    Raises:
        InvalidCall: `url` is not the URL of an endpoint.
    """

    version: int | None
    _parts: tuple[str, str, str]
    _api_key: str | None
    _timeout_s: float | None

    def __new__(
        cls,
        url: str,
        api_key: str | None = None,
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> Endpoint:
        """Make the endpoint from its URL; the class says what the arguments are."""
        found = _URL.fullmatch(url)
        if found is None:
            raise InvalidCall(
                f"{str(url)!r} is not the URL of an endpoint.",
                hint="It ends in /v1/<project>/<name>/predict; deploy prints it.",
            )
        self = super().__new__(cls, url)
        self._parts = (found[1], found[2], found[3])
        self._api_key = api_key
        self._timeout_s = timeout_s
        self.version = version
        return self

    def __repr__(self) -> str:
        known = "" if self.version is None else f", version={self.version}"
        return f"Endpoint({self.url!r}{known})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.url, self.version, self._timeout_s)

    def __copy__(self) -> Endpoint:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Endpoint:
        return self

    @property
    def url(self) -> str:
        """The URL as a plain `str`."""
        return str.__str__(self)

    @property
    def project(self) -> str:
        """Name of the project."""
        return self._parts[1]

    @property
    def name(self) -> str:
        """Name of the deployment."""
        return self._parts[2]

    def predict(
        self,
        data: Any = None,
        files: Sequence[Any] | None = None,
        parameters: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Return the flow's result for `data`.

        Args:
            data: A list of data points, an array, a tensor or a data frame (rows on axis 0), or
                anything else that has a JSON form; nested arrays and scalars are converted. Rows of
                a data frame are sent by column name. A dict that has only the keys `data`,
                `parameters` and `webhook_endpoint` is read as the envelope of a request, here as
                over HTTP.
            files: A list of files in the order of the data points; each a path (`str` or `Path`),
                `bytes`, a binary file object, or `(name, any of these[, content type])`.
            parameters: Values for this run only.
            timeout_s: Seconds to wait for the answer; by default a little longer than the server
                gives the call.

        Raises:
            PenstockError: The error the server answered; `facts["run_id"]` names the run.
        """
        return self.call(data, files, parameters, timeout_s).result

    def call(
        self,
        data: Any = None,
        files: Sequence[Any] | None = None,
        parameters: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Return the whole answer for `data`; arguments and errors are those of `predict`."""
        return self._call("predict", data, files, parameters, timeout_s)

    def call_version(
        self,
        number: int,
        data: Any = None,
        files: Sequence[Any] | None = None,
        parameters: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Return the whole answer of version `number`, active or not."""
        return self._call(f"versions/{number}/predict", data, files, parameters, timeout_s)

    def _call(
        self,
        route: str,
        data: Any,
        files: Sequence[Any] | None,
        parameters: dict[str, Any] | None,
        timeout_s: float | None,
    ) -> Answer:
        body = encode_request(data, parameters, files)
        limit = timeout_s
        if limit is None and self._timeout_s is not None:
            limit = self._timeout_s + MARGIN_S
        response = self._session().call(f"{self._base()}/{route}", body, limit)
        if response.status_code >= 300:
            raise error_of(response)
        fields = json_of(response)
        if not isinstance(fields, dict) or "result" not in fields:
            raise UnexpectedAnswer(f"The answer of {self.url} has no result.")
        return Answer(
            result=fields["result"],
            run_id=str(fields.get("run_id", "")),
            run_time_ms=float(fields.get("run_time_ms", 0.0)),
            prediction_ids=list(fields.get("prediction_ids", [])),
            server_timing=read_server_timing(response.headers.get("Server-Timing", "")),
        )

    def submit(
        self,
        data: Any = None,
        files: Sequence[Any] | None = None,
        parameters: dict[str, Any] | None = None,
        *,
        webhook: str | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> Run:
        """Have the server run the flow for `data` in its own time; return the run at once.

        When this returns, the run is safe: a crash or restart of the server does not lose it.

        Args:
            data: As for `predict`.
            files: As for `predict`.
            parameters: As for `predict`.
            webhook: URL that is told of the end of the run.
            priority: Runs of higher priority go first.
            idempotency_key: The same key with the same request is the same run, however often it
                is submitted; made up when missing, so that a broken connection makes no second run.
            timeout_s: Seconds the run may take once it runs; by default what the version gives a
                call.

        Raises:
            PenstockError: The server did not accept it, or cannot be reached.
        """
        body = encode_request(data, parameters, files, webhook)
        return submit_one(self._session, self._parts, body, priority, idempotency_key, timeout_s)

    def submit_many(
        self,
        many: Iterable[Any],
        files: Iterable[Files] | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        webhook: str | None = None,
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> Runs:
        """Submit each of `many` as the data of a run of its own; return the runs in that order.

        While the server takes no more runs, it waits.

        Args:
            many: The data of each run.
            files: The list of files of each run, in the same order; None for runs without files.
            parameters: As for `submit`, for each run; so are the arguments that follow.
            webhook: As for `submit`.
            priority: As for `submit`.
            timeout_s: As for `submit`.

        Raises:
            InvalidCall: `many` and `files` differ in length; nothing was submitted.
            PenstockError: As for `submit`.
        """

        def submit(data: Any, its_files: Files) -> Run:
            return self.submit(
                data, its_files, parameters, webhook=webhook, priority=priority, timeout_s=timeout_s
            )

        return submit_each(submit, many, files)

    def versions(self) -> list[Version]:
        """Return the versions, newest first; those deleted are left out."""
        found = self._session().get(self._base())["versions"]
        return [Version(**{k: v.get(k) for k in Version.__dataclass_fields__}) for v in found]

    def activate(self, number: int) -> None:
        """Let version `number` serve. The URL stays; no call fails meanwhile.

        Raises:
            NotFound: There is no such version.
            Conflict: It never became ready.
        """
        path = f"{self._base()}/versions/{int(number)}/activate"
        self._session().post(path, limit_s=CHANGE_S)
        self.version = int(number)

    def rollback(self) -> int:
        """Let the newest ready version before the active one serve; return its number.

        Raises:
            Conflict: There is none.
        """
        versions = self.versions()
        active = next((v.number for v in versions if v.active), None)
        older = [v.number for v in versions if v.state == "ready" and v.number < (active or 0)]
        if not older:
            raise Conflict(f"{self.name} has no ready version before version {active}.")
        self.activate(max(older))
        return max(older)

    def scale(
        self,
        min_replicas: int | None = None,
        max_replicas: int | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Change how many worker processes the deployment may have, at once and for later versions.

        Args:
            min_replicas: Fewest; 0 lets it sleep until it is called.
            max_replicas: Most.
            cooldown: Seconds after the last call until there are `min_replicas` again.

        Raises:
            InvalidSetting: A limit is out of range.
        """
        limits = {
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "cooldown_s": cooldown,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        self._session().patch(self._base(), given, limit_s=CHANGE_S)

    def monitor(self, inputs: Any = None, results: Any = None, **limits: Any) -> None:
        """Compare predictions with a reference from now on, such as a part of the training data.

        Args:
            inputs: Data points as calls send them: rows, an array, a data frame, or a dict of
                columns.
            results: What the flow should answer to them, in the same form as its results.
            limits: `features` and `targets`, names of the values of rows that are lists;
                `window_s`, `drift_threshold`, `min_rows`, `min_accuracy`, and `alert_url`, which
                is told when a limit is passed.

        Raises:
            InvalidSetting: The reference or a limit cannot be used.
        """
        given = {"inputs": inputs, "results": results}
        rows = {n: reference_rows(n, v) for n, v in given.items() if v is not None}
        self._session().post(f"{self._base()}/monitoring", {**rows, **limits})

    def feedback(self, truths: Mapping[str, Any]) -> list[str]:
        """Tell the truth about predictions, by prediction id; return the ids that are unknown."""
        unknown: list[str] = []
        for part in truths_of(truths):
            told = self._session().post(f"{self._base()}/feedback", {"feedback": part})
            unknown += told["unknown"]
        return unknown

    def delete(self) -> None:
        """Delete the deployment with all its versions and what its functions saved."""
        self._session().delete(self._base(), limit_s=CHANGE_S)

    def _base(self) -> str:
        server, project, name = self._parts
        return f"{server}/v1/{project}/{name}"

    def _session(self) -> Session:
        server = self._parts[0]
        if self._api_key is None:
            return session_for(resolve(None, server))
        return session_for(Target(server, self._api_key))


def _restore(url: str, version: int | None, timeout_s: float | None) -> Endpoint:
    return Endpoint(url, version=version, timeout_s=timeout_s)
