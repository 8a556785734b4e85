"""Requests made up from the served description, good and bad: each is answered, none by a 5xx.

Schemathesis makes some hundreds from the description, half of them against the rules; parts of
these are put together to 20,000. `make soak` has it make 20,000 of its own.
"""

from __future__ import annotations

import http.client
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

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

#: Seconds after which an answer is a hang, however busy the machine is.
LONGEST_S = 60.0

#: Connections that the many requests are sent on.
AT_ONCE = 8

#: Answers that say that the server is at its limit, not that it broke: the request was refused.
POLITE = {503, 504}


def echo(value: Any) -> Any:
    return [value]  # a function that returns None is at fault itself, and answered so


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
        self.slowest = 0.0
        self.client = httpx2.Client(base_url=site.url, timeout=90.0)

    def send_all(self, requests: Iterable[Sent]) -> None:
        """Send requests as they are, some at a time: changes wait for the disk together."""
        wanted = list(requests)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for checks in threads.map(
                self._send_some, (wanted[n::AT_ONCE] for n in range(AT_ONCE))
            ):
                for check in checks:
                    self.check(*check)

    def _send_some(self, requests: list[Sent]) -> list[tuple[int, float, str]]:
        checks = []
        line = http.client.HTTPConnection(self.site.url.removeprefix("http://"), timeout=90)
        with closing(line):
            for one in requests:
                headers = {**one.headers, "Authorization": self.site.keys["admin"]}
                begun = time.monotonic()
                line.request(one.method, one.target, one.body, headers)
                answer = line.getresponse()
                text = answer.read()
                took = time.monotonic() - begun
                bad = answer.status >= 500 or took > LONGEST_S
                told = f"{one!r:.700} -> {answer.status} {text[:500]!r}" if bad else ""
                checks.append((answer.status, took, told))
        return checks

    def check(self, status: int, took: float, what: str) -> None:
        self.statuses[status] += 1
        self.slowest = max(self.slowest, took)
        assert status < 500 or status in POLITE, what
        assert took < LONGEST_S, f"{took:.1f} s: {what}"

    def send(self, method: str, path: str, **request: Any) -> None:
        headers = {"Authorization": self.site.keys["admin"], **request.pop("headers", {})}
        begun = time.monotonic()
        answer = self.client.request(method, path, headers=headers, **request)
        took = time.monotonic() - begun
        what = f"{method} {path} {request!r:.500} -> {answer.status_code} {answer.text[:500]}"
        self.check(answer.status_code, took, what)


class Sent(NamedTuple):
    """One request as it is sent. `target` is path and query, quoted; `headers` are plain."""

    operation: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def described(site: Any, count: int) -> Iterator[Sent]:
    """Make about `count` requests, shared among the operations, half of them against the rules."""
    document = httpx2.get(f"{site.url}/v1/openapi.json").json()
    operations = [
        found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()
    ]
    each = max(1, count // (2 * len(operations)))
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            yield from made(site, operation.as_strategy(generation_mode=mode), each)


def made(site: Any, cases: Any, count: int) -> list[Sent]:
    found: list[Sent] = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def make(case: Any) -> None:
        request = case.as_transport_kwargs(base_url=site.url)
        sent = {
            "headers": {k: v for k, v in (request.get("headers") or {}).items() if sendable(k, v)},
            "params": request.get("params"),
        }
        if request.get("json") is not None:
            sent["json"] = request["json"]
        elif isinstance(request.get("data"), (bytes, str)):
            sent["content"] = request["data"]
        try:
            one = httpx2.Request(case.method, request["url"], **sent)
            target = one.url.raw_path.decode("ascii")
            headers = {k: v for k, v in one.headers.items() if sendable(k, v)}
            found.append(Sent(case.operation.label, one.method, target, headers, one.read()))
        except (httpx2.InvalidURL, UnicodeError, ValueError, TypeError):
            return  # a client cannot even send it

    try:
        make()
    except Exception as error:  # a schema that cannot be broken has no bad requests
        if type(error).__name__ != "Unsatisfiable":
            raise
    return found


def mixed(rng: random.Random, known: list[Sent], count: int) -> Iterator[Sent]:
    """Make requests of known ones: the way of one, the query, fields and body of others.

    Those that lend are of the same operation, now and then of any; bodies are damaged now and then.
    """
    alike: dict[str, list[Sent]] = {}
    for one in known:
        alike.setdefault(one.operation, []).append(one)
    for _ in range(count):
        one = rng.choice(known)
        family = alike[one.operation]
        way, fields, body = (rng.choice(family if rng.random() < 0.8 else known) for _ in range(3))
        query = rng.choice(family).target.partition("?")[2]
        data = body.body if rng.random() < 0.6 else damaged(rng, body.body)
        path = to_what_is_there(rng, one.operation, rng.choice(family).target.partition("?")[0])
        headers = {k: v for k, v in fields.headers.items() if k != "content-type"}
        kind = rng.choice((way, fields, body)).headers.get("content-type")
        headers |= {"content-type": kind} if kind else {}
        method = family[0].method if rng.random() < 0.95 else way.method
        yield Sent(one.operation, method, f"{path}?{query}" if query else path, headers, data)


def to_what_is_there(rng: random.Random, operation: str, path: str) -> str:
    """Put names of what the server has into a path, more often than not."""
    if operation == "DELETE /v1/{project}/{name}" or rng.random() < 0.4:
        return path
    parts, template = path.split("/"), operation.partition(" ")[2].split("/")
    if len(parts) != len(template):
        return path
    return "/".join(THERE.get(name, part) for name, part in zip(template, parts, strict=True))


def damaged(rng: random.Random, body: bytes) -> bytes:
    """Change a body in a few places, keeping most of its form."""
    data = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = at + rng.choice((0, 1, 4, 16))
        data[at:end] = rng.choice(WORDS)
    return bytes(data)


#: What the server has, by the part of a path that stands for it.
THERE = {"{project}": "default", "{name}": "flow", "{number}": "1"}

#: What JSON, multipart and our own fields give a meaning to.
WORDS = (
    b"", b'"', b"[", b"]", b"{", b"}", b",", b":", b"null", b"true", b"-1", b"1e999", b"NaN",
    b"9" * 30, b"0.1", b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"../", b"$schema", b'{"a":[]}',
    b"[[[[[[[[", b"--x\r\n", b"data", b"webhook_endpoint",
)  # fmt: skip


def sendable(name: str, value: Any) -> bool:
    plain = isinstance(value, str) and value.isascii() and value.isprintable()
    return plain and name.lower() not in {"content-length", "host", "authorization"}


def npy(kind: str, shape: str) -> bytes:
    """Return the head of an npy file that says so."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


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
    ("application/x-npy", npy("'|O'", "(1,)")),
    ("application/x-npy", npy("'<f8'", "(9999999999, 9999999999)")),
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


@pytest.mark.timeout(1800)
def test_20_000_requests_made_up_from_the_description_are_never_answered_by_a_5xx(
    watch: Watch,
) -> None:
    watch.statuses.clear()
    known = list(described(watch.site, 400))
    watch.send_all([*known, *mixed(random.Random(7), known, 20_000 - len(known))])
    sent = sum(watch.statuses.values())
    statuses = dict(sorted(watch.statuses.items()))
    print(f"\n{sent:,} requests: {statuses}, slowest {watch.slowest:.2f} s")
    assert sent == 20_000
    assert {200, 400, 404} <= set(watch.statuses), watch.statuses


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_20_000_requests_that_schemathesis_makes_one_by_one_are_never_answered_by_a_5xx(
    watch: Watch,
) -> None:
    watch.statuses.clear()
    watch.send_all(described(watch.site, 26_000))  # some operations have fewer than others
    print(f"\n{sum(watch.statuses.values()):,} requests: {dict(sorted(watch.statuses.items()))}")
    assert sum(watch.statuses.values()) >= 20_000
