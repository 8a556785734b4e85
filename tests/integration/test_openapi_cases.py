"""Requests made up from the served description, good and bad: each is answered, none by a 5xx.

Some hundreds in every run of the tests; `make soak` sends 20,000.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from penstock import deploy, model_type

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own libraries' deprecations
    import schemathesis
    from schemathesis import GenerationMode

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: Seconds after which an answer is a hang.
LONGEST_S = 5.0

#: Answers that say that the server is at its limit, not that it broke: the request was refused.
POLITE = {503, 504}


def echo(value: Any) -> Any:
    return value


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Iterator[Any]:
    live = launch_server(tmp_path_factory.mktemp("described") / "data")
    deploy([(model_type.PYTHON, echo)], "flow", live.keys["deploy"], server=live.url, quiet=True)
    yield live
    assert live.stop() == 0, live.log


@pytest.fixture(scope="module")
def watch(site: Any) -> Iterator[Watch]:
    found = Watch(site)
    with found.client:
        yield found


class Watch:
    """Sends requests and remembers what was wrong with the answers."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.statuses: Counter[int] = Counter()
        self.client = httpx2.Client(base_url=site.url, timeout=30.0)

    def send(self, method: str, path: str, **request: Any) -> None:
        headers = {"Authorization": self.site.keys["admin"], **request.pop("headers", {})}
        begun = time.monotonic()
        answer = self.client.request(method, path, headers=headers, **request)
        took = time.monotonic() - begun
        self.statuses[answer.status_code] += 1
        what = f"{method} {path} {request!r:.500} -> {answer.status_code} {answer.text[:500]}"
        assert answer.status_code < 500 or answer.status_code in POLITE, what
        assert took < LONGEST_S, f"{took:.1f} s: {what}"


def send_described(watch: Watch, count: int) -> None:
    """Send about `count` requests, shared among the operations, half of them against the rules."""
    document = httpx2.get(f"{watch.site.url}/v1/openapi.json").json()
    operations = [
        found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()
    ]
    each = max(1, count // (2 * len(operations)))
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            send_cases(watch, operation.as_strategy(generation_mode=mode), each)


def send_cases(watch: Watch, cases: Any, count: int) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def send(case: Any) -> None:
        request = case.as_transport_kwargs(base_url=watch.site.url)
        sent = {
            "headers": {k: v for k, v in (request.get("headers") or {}).items() if sendable(k, v)},
            "params": request.get("params"),
        }
        if request.get("json") is not None:
            sent["json"] = request["json"]
        elif isinstance(request.get("data"), (bytes, str)):
            sent["content"] = request["data"]
        try:
            watch.send(case.method, request["url"], **sent)
        except (httpx2.InvalidURL, UnicodeError, ValueError, TypeError):
            return  # a client cannot even send it

    try:
        send()
    except Exception as error:  # a schema that cannot be broken has no bad requests
        if type(error).__name__ != "Unsatisfiable":
            raise


def sendable(name: str, value: Any) -> bool:
    plain = isinstance(value, str) and value.isascii() and value.isprintable()
    return plain and name.lower() not in {"content-length", "host", "authorization"}


#: Bodies that parsers choke on, by media type.
NASTY = [
    ("application/json", b"[" * 100_000),
    ("application/json", b'{"a":' * 50_000),
    ("application/json", b"9" * 5000),
    ("application/json", b"[1e400, NaN, -Infinity]"),
    ("application/json", b'"\\ud800"'),
    ("application/json", b'"\xed\xa0\x80"'),
    ("application/json", b"\xff\xfe[\x001\x00]\x00"),
    ("application/json; charset=utf-7", b"[1]"),
    ("application/json", b""),
    ("multipart/form-data; boundary=x", b"--x\r\n" * 10_001),
    ("multipart/form-data; boundary=x", b"\r\n" * 200_000 + b"--x--"),
    ("multipart/form-data; boundary=x", b"y" * (1 << 20) + b"--x--"),
    ("multipart/form-data", b"--x\r\n\r\n"),
    ("multipart/form-data; boundary=" + "b" * 100, b"--"),
    ("application/x-npy", b"\x93NUMPY\x01\x00\xff\xff{"),
    ("application/x-npy", b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n"),
    ("application/x-npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 9999999999)}\n"),
    ("application/python-pickle", b"cos\nsystem\n(S'true'\ntR."),
    ("application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff\x10\x00\x00\x00"),
    ("application/x-www-form-urlencoded", b"a=%00&a=%ff"),
    ("a/b; c=\"", b"x"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NASTY)))
def test_a_nasty_body_is_refused_or_answered_quickly(watch: Watch, number: int) -> None:
    media, body = NASTY[number]
    for path in ("/v1/default/flow/predict", "/v1/projects", "/v1/default/flow/versions"):
        watch.send("POST", path, content=body, headers={"Content-Type": media})


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    media=st.sampled_from(sorted({media for media, _ in NASTY}))
    | st.text('abc/;=" *+-', max_size=30),
    body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode),
)
def test_any_bytes_of_any_kind_are_refused_or_answered(
    watch: Watch, media: str, body: bytes
) -> None:
    watch.send(
        "POST", "/v1/default/flow/predict", content=body, headers={"Content-Type": media.strip()}
    )


def test_requests_made_up_from_the_description_are_never_answered_by_a_5xx(watch: Watch) -> None:
    watch.statuses.clear()
    send_described(watch, 400)
    assert sum(watch.statuses.values()) > 150, watch.statuses
    assert {200, 400, 404} <= set(watch.statuses), watch.statuses


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_20_000_requests_made_up_from_the_description_are_never_answered_by_a_5xx(
    watch: Watch,
) -> None:
    watch.statuses.clear()
    send_described(watch, 26_000)  # some operations have fewer different requests than others
    print(f"\n{sum(watch.statuses.values()):,} requests: {dict(sorted(watch.statuses.items()))}")
    assert sum(watch.statuses.values()) >= 20_000
