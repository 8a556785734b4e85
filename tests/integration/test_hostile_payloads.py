"""What callers send is read and never run: pickles anywhere, bombs, paths that lead elsewhere.

Run with `-s` to see the figures.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import pickle
import pickletools
import random
import time
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import httpx2
import numpy as np
import pytest

from penstock import deploy, model_type
from penstock.codec.bundle import check_module_path
from penstock.codec.files import base_name
from penstock.codec.payload import decode
from penstock.core.errors import PenstockError
from penstock.core.names import check_deployment_name, check_project_name, is_sha256

PATHS = 3000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch_server: Any) -> Iterator[Any]:
    live = launch_server(tmp_path_factory.mktemp("hostile") / "data", {"PENSTOCK_GATEWAYS": "2"})
    yield live
    assert live.stop() == 0, live.log


def put(site: Any, flow: list[Any], name: str) -> str:
    endpoint = deploy(flow, name, site.keys["deploy"], server=site.url, quiet=True, max_replicas=1)
    return str(endpoint)


def same(value: Any) -> Any:
    return value


# --- pickles ---


def watch(data: Any) -> Any:
    """Begin to count the classes that this worker unpickles, count, or unpickle one."""
    import pickle
    import sys

    if data == ["begin"]:
        sys.seen_by_watch = []  # type: ignore[attr-defined]

        def hook(event: str, arguments: Any) -> None:
            if event == "pickle.find_class":
                sys.seen_by_watch.append(".".join(arguments))  # type: ignore[attr-defined]

        sys.addaudithook(hook)
    if data == ["unpickle"]:
        pickle.loads(pickle.dumps(print))
    return {"seen": list(sys.seen_by_watch)}  # type: ignore[attr-defined]


def read_files(data: Any, files: Any) -> Any:
    for file in files:
        file.read()
    return watch(data)


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/penstock-was-here",)


def pickles() -> list[bytes]:
    made = [pickle.dumps(Bomb(), protocol) for protocol in range(6)]
    made += [pickletools.optimize(made[4]), cloudpickle.dumps(lambda: os.system("true"))]
    made += [b"cos\nsystem\n(S'touch /tmp/penstock-was-here'\ntR.", zlib.compress(made[2])]
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb()], dtype=object), allow_pickle=True)
    archive = io.BytesIO()
    np.savez(archive, a=np.array([Bomb()], dtype=object))
    made += [objects.getvalue(), archive.getvalue()]
    made.append(b"!!python/object/apply:os.system ['touch /tmp/penstock-was-here']")
    return made


MEDIA = (
    "application/json", "application/x-npy", "application/octet-stream", "application/x-pickle",
    "application/python-pickle", "application/x-joblib", "application/x-yaml", "application/zip",
    "application/vnd.apache.arrow.stream", "text/plain", "multipart/form-data; boundary=x", "",
)  # fmt: skip


def requests_with(payload: bytes) -> Iterator[dict[str, Any]]:
    """Yield requests that have the payload in every place there is."""
    text, coded = payload.decode("latin-1"), base64.b64encode(payload).decode()
    for media in MEDIA:
        yield {"content": payload, "headers": {"Content-Type": media}}
    for value in (text, coded):
        yield {"json": [value]}
        yield {"json": {"data": [value], "parameters": {"p": value}}}
        yield {"json": {"data": {value: value}}}
        yield {"json": {"data": [1], "webhook_endpoint": value}}
        yield {"json": {"__reduce__": value, "py/reduce": [{"py/function": "os.system"}, value]}}
    for name in ("data", "parameters", "files", "file0", "webhook_endpoint", coded[:100]):
        form = {name: (f"{coded[:60]}.pkl", payload, "application/x-pickle")}
        yield {"files": form}
        yield {"data": {name: coded}, "files": {"files": ("a.npy", payload, "text/plain")}}
    for field in ("Accept", "X-Data", "Cookie", "traceparent", "User-Agent", "Content-Encoding"):
        yield {"json": [1], "headers": {field: coded}}
    yield {"json": [1], "params": {"data": coded, "async": coded}}
    # Runs are begun by the server itself, and their payloads are kept on the disk.
    later = {"params": {"async": "true"}}
    yield {"content": payload, "headers": {"Content-Type": "application/x-npy"}, **later}
    yield {"json": [text, {"py/reduce": [coded]}], **later}
    yield {"files": {"files": (f"{coded[:60]}.pkl", payload, "application/x-pickle")}, **later}


def test_no_pickle_is_read_wherever_it_is_sent(site: Any) -> None:
    urls = [
        put(site, [(model_type.PYTHON, same, {"pre": watch})], "plain"),
        put(site, [(model_type.PYTHON, same, {"pre": read_files})], "documents"),
    ]
    statuses: Counter[int] = Counter()
    headers = {"Authorization": site.keys["predict"]}
    with httpx2.Client(headers=headers, timeout=60) as client:
        for url in urls:
            assert client.post(url, json=["begin"]).json()["result"] == {"seen": []}
        for payload, url in itertools.product(pickles(), urls):
            for request in requests_with(payload):
                statuses[client.post(url, **request).status_code] += 1
        assert statuses[202] >= 3 * len(urls)
        runs = f"{site.url}/v1/default/runs?kind=async&state=queued,running"
        reader = {"Authorization": site.keys["deploy"]}
        deadline = time.monotonic() + 60
        while client.get(runs, headers=reader).json()["runs"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for url in urls:
            assert client.post(url, json=["count"]).json()["result"] == {"seen": []}
        # The hook does see what is unpickled.
        seen = client.post(urls[0], json=["unpickle"]).json()["result"]["seen"]
        assert seen == ["builtins.print"]
    print(f"\n{sum(statuses.values()):,} requests with pickles: {dict(sorted(statuses.items()))}")
    assert sum(statuses.values()) > 1000
    assert not {status for status in statuses if status >= 500}
    assert "Unpickling" not in site.log, "the server process met a pickle"
    assert not Path("/tmp/penstock-was-here").exists()


# --- bombs ---


def look(data: Any, files: Any) -> Any:
    from PIL import Image

    return [[*Image.open(file).convert("L").size] for file in files]


def flat_tiff(side: int) -> bytes:
    """Return the same picture as a TIFF: its head, and rows that are packed to next to nothing."""
    from PIL import Image

    made = io.BytesIO()
    Image.new("1", (side, side), 1).save(made, "tiff", compression="tiff_adobe_deflate")
    return made.getvalue()


def flat_picture(side: int) -> bytes:
    """Return a PNG of `side` times `side` white points: tiny, and huge when it is unpacked."""
    from PIL import Image, PngImagePlugin

    small = io.BytesIO()
    Image.new("1", (8, 8), 1).save(small, "png")
    assert PngImagePlugin.Image.MAX_IMAGE_PIXELS
    row = zlib.compressobj(9)
    line = b"\x00" + b"\xff" * ((side + 7) // 8)
    data = b"".join(row.compress(line) for _ in range(side)) + row.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    header = side.to_bytes(4, "big") * 2 + b"\x01\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_what_unpacks_to_far_more_is_refused_or_left_packed(site: Any) -> None:
    url = put(site, [(model_type.PYTHON, same, {"pre": look})], "pictures")
    zeros = zlib.compress(b"0" * (1 << 28), 9)
    archive = io.BytesIO()
    np.savez_compressed(archive, a=np.zeros(1 << 25))
    headers = {"Authorization": site.keys["predict"]}
    with httpx2.Client(headers=headers, timeout=60) as client:
        for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
            answer = client.post(url, content=zeros, headers={"Content-Encoding": coding})
            assert answer.status_code == 415, (coding, answer.text)
        good = client.post(url, files={"files": ("a.png", flat_picture(64))})
        assert good.json()["result"] == [[64, 64]]
        bomb = flat_picture(30_000)
        assert len(bomb) < 1 << 20
        other = flat_tiff(30_000)
        assert len(other) < 1 << 20
        for name, data in (("a.png", bomb), ("a.tiff", other)):
            refused = client.post(url, files={"files": (name, data)})
            assert refused.json()["error"]["type"] == "DecompressionBombError", refused.text
        # An archive is a file like any other: nobody opens it.
        kept = client.post(url, files={"files": ("a.npz", archive.getvalue())})
        assert kept.json()["error"]["type"] == "UnidentifiedImageError", kept.text
        again = client.post(url, files={"files": ("a.png", flat_picture(64))})
        assert again.json()["result"] == [[64, 64]]
    shown = httpx2.get(url.removesuffix("/predict"), headers={"Authorization": site.keys["deploy"]})
    assert shown.json()["replicas"][0]["restarts"] == 0


# --- paths ---

_UP = ("..", "...", ".", "%2e%2e", "%252e%252e", "．．", "..%c0%af", "‥", "..;", ".. ", "..\x00")
_BETWEEN = ("/", "\\", "%2f", "%5c", "//", "/./", "∕", "⁄", "%c0%af", "\\\\", "\x00/")
_ENDS = (
    "etc/passwd", "records.sqlite", "penstock.db", "a.py", "x\x00.png", "con", "nul.txt", "CON",
    "a\nb", "a\r\nSet-Cookie: x=1", "\u202egnp.exe", "\ud800", "é\u0301", "a" * 300, "~/.ssh/id",
    "-rf", "$(id)", "`id`", "|id", "*", "?", "{a,b}", "C:\\x", "file:///x", " ", "", "\t",
)  # fmt: skip


def paths() -> list[str]:
    """Return `PATHS` different strings that may lead elsewhere."""
    dice = random.Random(20261123)
    found = {"", "/", "/etc/passwd", "//etc/passwd", "C:\\windows", "~", "~root"}
    while len(found) < PATHS:
        parts = [dice.choice(_UP) + dice.choice(_BETWEEN) for _ in range(dice.randrange(5))]
        start = dice.choice(("", "/", "a/", "\\", "static/", "\x00"))
        found.add(start + "".join(parts) + dice.choice(_ENDS))
    return sorted(found)


def test_no_path_of_three_thousand_leaves_its_folder(tmp_path: Path) -> None:
    inside, secret = tmp_path / "a" / "run", tmp_path / "etc" / "passwd"
    inside.mkdir(parents=True)
    secret.parent.mkdir()
    secret.write_text("root:")
    before = {path for path in tmp_path.rglob("*") if inside not in path.parents}
    written = 0
    for path in paths():
        assert "/" not in base_name(path)
        assert base_name(path) not in {"", ".", ".."}
        name = path.replace('"', "").encode("utf-8", "surrogatepass")
        part = b'Content-Disposition: form-data; name="files"; filename="' + name + b'"'
        body = b"--x\r\n" + part + b"\r\n\r\ncontent\r\n--x--\r\n"
        try:
            files = decode("multipart/form-data; boundary=x", body).files
        except PenstockError:
            files = []
        for file in files:
            file.directory = lambda: str(inside)
            copy = Path(file.path).resolve()
            assert inside in copy.parents, path
            assert copy.read_bytes() == b"content"
            written += 1
        for check in (check_deployment_name, check_project_name, check_module_path):
            try:
                taken = check(path)
            except PenstockError:
                continue
            assert ".." not in taken
            assert not taken.startswith(("/", "\\", "~"))
            assert taken.isprintable()
        assert not is_sha256(path)
    after = {path for path in tmp_path.rglob("*") if inside not in path.parents}
    print(f"\n{PATHS:,} paths; {written:,} files written, {len(after - before)} outside")
    assert after == before
    assert written > PATHS / 2


def test_no_address_of_three_thousand_reaches_a_file(site: Any) -> None:
    places = ("/{}", "/static/{}", "/v1/default/{}", "/v1/default/files/{}", "/p/default/{}",
              "/v1/default/blobs/{}", "/v2/models/{}")  # fmt: skip
    headers = {"Authorization": site.keys["admin"], "Host": "localhost"}
    before = sorted(path for path in site.data.rglob("*") if "scratch" not in path.parts)
    statuses: Counter[int] = Counter()
    with httpx2.Client(base_url=site.url, headers=headers, timeout=30) as client:
        for number, path in enumerate(paths()):
            raw = path.encode("utf-8", "surrogatepass")
            coded = urllib.parse.quote(raw, safe="/%\\.")
            coded = "".join(
                c if c.isascii() and c.isprintable() and c != " " else "%41" for c in coded
            )
            url = places[number % len(places)].format(coded)
            request = client.build_request(("GET", "PUT", "DELETE")[number % 3], "/")
            request.url = request.url.copy_with(raw_path=url.encode())
            answer = client.send(request)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (url, answer.text)
            assert b"root:" not in answer.content
            assert b"SQLite format" not in answer.content
    print(f"\n{PATHS:,} addresses: {dict(sorted(statuses.items()))}")
    after = sorted(path for path in site.data.rglob("*") if "scratch" not in path.parts)
    assert after == before


def test_a_manifest_with_a_path_for_a_module_is_refused(site: Any) -> None:
    headers = {"Authorization": site.keys["deploy"]}
    for path in ("../x.py", "/etc/x.py", "a/../../x.py", "x.py\x00", "a\\..\\x.py"):
        manifest = {"format": 1, "modules": [{"path": path, "sha256": "0" * 64}]}
        answer = httpx2.post(
            f"{site.url}/v1/default/flow/versions",
            content=json.dumps({"manifest": manifest, "settings": {}, "activate": True}),
            headers=headers,
        )
        assert answer.status_code in {400, 422}, answer.text


def test_the_servers_limit_of_nesting_holds_in_its_workers(start_server: Any) -> None:
    live = start_server(max_nesting=5)
    url = put(live, [(model_type.PYTHON, same)], "nested")
    headers = {"Authorization": live.keys["predict"], "Content-Type": "application/json"}
    for levels, status in ((5, 200), (6, 400), (900, 400), (100_000, 400)):
        body = b"[" * levels + b"1" + b"]" * levels
        answer = httpx2.post(url, content=body, headers=headers)
        assert answer.status_code == status, answer.text
    assert "deeper than 5 levels" in httpx2.post(url, json=[[[[[[1]]]]]], headers=headers).text
