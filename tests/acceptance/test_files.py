"""Binary files from the wire to the functions: order, names, working directories, memory."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from penstock import Endpoint, get, model_type, save

NAMES = ["c.png", "a.png", "b with space.png", "d.bin"]
MEGABYTE = 1024 * 1024
PARALLEL = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaler that leaves its one column as it is."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=False, with_std=False).fit(np.zeros((2, 1)))
    path = tmp_path_factory.mktemp("model") / "same.pkl"
    path.write_bytes(pickle.dumps(scaler))
    return path


def picture(shade: int, width: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, 4), shade).save(out, "PNG")
    return out.getvalue()


#: What is sent: name, bytes, media type. The last one is no picture.
SENT = [
    (NAMES[0], picture(10, 3), "image/png"),
    (NAMES[1], picture(200, 5), "image/png"),
    (NAMES[2], picture(90, 7), "image/x-odd; a=b"),
    (NAMES[3], b"\x00\xff--\r\n--\r\n\x1a" * 3, "application/octet-stream"),
]


def look(data: Any, files: Any) -> Any:
    seen = []
    for name, file in zip(data, files, strict=True):
        row = {"data": name, "name": file.name, "type": file.content_type, "size": file.size}
        if "png" in file.name:
            image = Image.open(file)
            row |= {"width": image.width, "shade": image.getpixel((0, 0))}
        seen.append(row)
    save("seen", seen, scope="run")
    return np.zeros((len(data), 1))


def look_again(result: Any, data: Any, files: Any) -> Any:
    again = [
        {"data": d, "name": f.name, "type": f.content_type, "hex": f.read().hex()}
        for d, f in zip(data, files, strict=True)
    ]
    return {"pre": get("seen", scope="run"), "post": again}


@pytest.fixture(scope="module")
def looking(model: Path, put_once: Any) -> Endpoint:
    flow = [(model_type.SKLEARN_PREPROCESSOR, model, {"pre": look, "post": look_again})]
    return put_once(flow, "looking-at-files")


def assert_seen(found: Any) -> None:
    common = [{"data": f"d{i}", "name": n, "type": t} for i, (n, _, t) in enumerate(SENT)]
    pre = [row | {"size": len(body)} for row, (_, body, _) in zip(common, SENT, strict=True)]
    for row, width, shade in zip(pre, (3, 5, 7), (10, 200, 90), strict=False):
        row |= {"width": width, "shade": shade}
    post = [row | {"hex": body.hex()} for row, (_, body, _) in zip(common, SENT, strict=True)]
    assert found == {"pre": pre, "post": post}


def posted(endpoint: Endpoint, fields: list[str], labels: Any = None) -> httpx2.Response:
    data = {"data": json.dumps(labels or [f"d{i}" for i in range(len(fields))])}
    files = [(field, part) for field, part in zip(fields, SENT, strict=True)]
    headers = {"Authorization": str(endpoint._api_key)}
    return httpx2.post(endpoint.url, data=data, files=files, headers=headers, timeout=60)


@pytest.mark.parametrize(
    "fields",
    [["files"] * 4, [f"file{i}" for i in range(4)], ["files", "file1", "files", "picture"]],
    ids=["files-repeated", "file0-to-file3", "mixed"],
)
def test_files_keep_order_name_and_type_in_pre_and_in_a_three_argument_post(
    looking: Endpoint, fields: list[str]
) -> None:
    answer = posted(looking, fields)
    assert answer.status_code == 200, answer.text
    assert_seen(answer.json()["result"])


def test_the_clients_files_look_the_same(looking: Endpoint) -> None:
    assert_seen(looking.predict([f"d{i}" for i in range(4)], files=SENT))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("field", ["files", "file{}"])
def test_curl_sends_files_as_the_documents_say(
    looking: Endpoint, tmp_path: Path, field: str
) -> None:
    parts = []
    for number, (name, body, kind) in enumerate(SENT):
        (tmp_path / name).write_bytes(body)
        parts += ["-F", f"{field.format(number)}=@{name};type={kind.replace(';', '%')}"]
    parts = [part.replace("image/x-odd% a=b", "image/x-odd; a=b") for part in parts]
    command = ["curl", "-sS", looking.url, "-H", f"Authorization: {looking._api_key}"]
    command += ["-F", 'data=["d0", "d1", "d2", "d3"]', *parts]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert_seen(json.loads(done.stdout)["result"])


def test_one_body_of_another_media_type_is_one_file(model: Path, put: Any) -> None:
    def tell(data: Any, files: Any) -> Any:
        (file,) = files
        return np.array([[Image.open(file).width]])

    endpoint = put([(model_type.SKLEARN_PREPROCESSOR, model, {"pre": tell})])
    headers = {"Authorization": str(endpoint._api_key), "Content-Type": "image/png"}
    answer = httpx2.post(endpoint.url, content=picture(1, 11), headers=headers)
    assert answer.json()["result"] == [[11.0]]


def own_file(data: Any, files: Any) -> Any:
    """Write the one file under a fixed name, if asked to; its size goes to the model."""
    number, go = data
    if go:
        Path(f"{go}-begun").touch()
        until = time.monotonic() + 60
        while not Path(go).exists() and time.monotonic() < until:
            time.sleep(0.005)
    if number % 4 == 0:
        with open("audio.wav", "xb") as out:  # fails if another run's file is there
            out.write(files[0].read())
    return np.array([[float(files[0].size)]])


def read_back(result: Any, data: Any, files: Any) -> Any:
    here = sorted(p.name for p in Path().iterdir())
    same = [Path(name).read_bytes() == files[0].read() for name in here]
    return {"number": data[0], "size": float(result[0, 0]), "here": here, "same": same}


def test_parallel_requests_that_write_one_fixed_file_name_keep_their_own(
    model: Path, put: Any, tmp_path: Path
) -> None:
    flow = [(model_type.SKLEARN_PREPROCESSOR, model, {"pre": own_file, "post": read_back})]
    endpoint = put(flow)

    def call(number: int, go: str = "") -> Any:
        sent = bytes([number]) * (1000 + number)
        return endpoint.predict([number, go], files=[("sound.wav", sent)])

    # A first run keeps the replica busy until the others wait, so that they come to it together.
    for turn in range(3):
        go = tmp_path / f"go-{turn}"
        with ThreadPoolExecutor(PARALLEL + 1) as pool:
            first = pool.submit(call, 200, str(go))
            wait_until(go.with_name(f"{go.name}-begun").exists)
            calls = [pool.submit(call, number) for number in range(PARALLEL)]
            wait_until(lambda: replica_of(endpoint)["in_flight"] > PARALLEL)
            go.touch()
            for number, waiting in [*enumerate(calls), (200, first)]:
                writes = number % 4 == 0
                assert waiting.result(30) == {
                    "number": number,
                    "size": 1000.0 + number,
                    "here": ["audio.wav"] if writes else [],
                    "same": [True] if writes else [],
                }


def replica_of(endpoint: Endpoint) -> dict[str, Any]:
    address = endpoint.url.removesuffix("/predict")
    headers = {"Authorization": str(endpoint._api_key)}
    (replica,) = httpx2.get(address, headers=headers).json()["replicas"]
    return replica


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, holds
        time.sleep(0.005)


def test_a_large_upload_is_not_held_in_the_server_process(
    model: Path, put: Any, server: Any, tmp_path: Path
) -> None:
    def weigh(data: Any, files: Any) -> Any:
        total = 0
        while piece := files[0].read(MEGABYTE):
            total += len(piece)
        return np.array([[float(total)]])

    endpoint = put([(model_type.SKLEARN_PREPROCESSOR, model, {"pre": weigh})])
    large = tmp_path / "large.bin"
    with large.open("wb") as out:
        out.truncate(60 * MEGABYTE)
    small = ("small.bin", b"x" * MEGABYTE)
    for _ in range(3):
        assert endpoint.predict(["a"], files=[small]) == [[float(MEGABYTE)]]
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak starts anew
    before = memory_of(server.pid)
    for _ in range(3):
        assert endpoint.predict(["a"], files=[large]) == [[60.0 * MEGABYTE]]
    after = memory_of(server.pid)
    assert after["VmHWM"] - before["VmRSS"] < 8 * MEGABYTE, (before, after)
    assert after["VmRSS"] - before["VmRSS"] < 8 * MEGABYTE, (before, after)


def memory_of(pid: int) -> dict[str, int]:
    """Return the process's peak and present resident memory, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = [line.split(":") for line in lines if line.startswith(("VmHWM", "VmRSS"))]
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}
