"""`Endpoint`: the URL that `deploy` returns, with everything one does to it.

It is a `str`, so it prints, joins and compares as the URL. It keeps the key it was deployed with
for its own calls only: no text form and no pickle holds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.client.config import Target, resolve
from penstock.client.session import MARGIN_S, Session, error_of, json_of, session_for
from penstock.codec.request import encode_request
from penstock.core.errors import Conflict, InvalidCall, UnexpectedAnswer

_URL = re.compile(r"(https?://.+?)/v1/([a-z0-9-]+)/([a-z0-9-]+)/predict/?")


@dataclass(frozen=True)
class Answer:
    """The whole answer to a call.

    Attributes:
        result: What the flow returned, as JSON values.
        run_id: The run, as the server's logs name it.
        run_time_ms: Milliseconds from arrival to answer, on the server.
        prediction_ids: One id for each data point, `"<run_id>-<i>"`.
        server_timing: Milliseconds by part (`queue`, `s1-pre`, `s1-model`, …), as the server
            measured them.
    """

    result: Any
    run_id: str
    run_time_ms: float
    prediction_ids: list[str]
    server_timing: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One version of a deployment. `state` is deploying, ready, failed or deleted."""

    number: int
    state: str
    active: bool
    created_at: float
    created_by: str
    size_bytes: int
    failure: dict[str, Any] | None = None


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
            data: A list of data points, an array or a tensor (rows on axis 0), or anything else
                that has a JSON form; nested arrays and scalars are converted. A dict that has only
                the keys `data`, `parameters` and `webhook_endpoint` is read as the envelope of a
                request, here as over HTTP.
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
        self._session().post(f"{self._base()}/versions/{int(number)}/activate")
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

    def delete(self) -> None:
        """Delete the deployment with all its versions and what its functions saved."""
        self._session().delete(self._base())

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


def read_server_timing(text: str) -> dict[str, float]:
    """Return the milliseconds of a `Server-Timing` header by name; a name twice is added up.

    Entries without a duration are left out.
    """
    found: dict[str, float] = {}
    for entry in text.split(","):
        name, *facts = (part.strip() for part in entry.split(";"))
        for fact in facts:
            key, _, value = fact.partition("=")
            if key == "dur":
                try:
                    found[name] = found.get(name, 0.0) + float(value)
                except ValueError:
                    continue
    return found
