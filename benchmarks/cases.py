"""The cases: what is sent to each kind of server, and how its answer is read."""

import json
from functools import cache
from typing import Any, NamedTuple

from places import WORK

TITLES = {
    "A": "one row, torch → XGBoost",
    "B": "32 rows, torch → XGBoost",
    "C": "a 60 KB JPEG → CNN",
    "D": "echo, no model",
    "H": "case A, every request with another header field",
}

#: What a case of one row is checked against.
ANSWER_OF = {"A": "A", "B": "B", "C": "C", "D": "D", "H": "A"}

_JSON = {"Content-Type": "application/json"}
_MARK = "penstockbench0123456789"


class Request(NamedTuple):
    """One request. `vary` names a field whose value differs in every request that wrk sends."""

    path: str
    headers: dict[str, str]
    body: bytes
    vary: str = ""


@cache
def stored(name: str) -> Any:
    """Return a JSON file of the work folder."""
    return json.loads((WORK / name).read_text())


def all_rows() -> list[list[float]]:
    """Return the 32 rows of case B, which case A takes one at a time."""
    rows: list[list[float]] = stored("b.json")
    return rows


def multipart(jpeg: bytes, field: str) -> tuple[bytes, dict[str, str]]:
    """Return a form with one file, and the header field that goes with it."""
    head = (
        f'--{_MARK}\r\nContent-Disposition: form-data; name="{field}"; filename="c.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body = head + jpeg + f"\r\n--{_MARK}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_MARK}"}


def image(number: int = 0) -> bytes:
    """Return one of the four JPEGs."""
    return (WORK / f"c{number or ''}.jpg").read_bytes()


def rows_request(style: str, case: str, rows: list[list[float]]) -> Request:
    """Return the request of case A, B, D or H with these rows."""
    vary = "traceparent" if case == "H" else ""
    if style == "v2":
        flat = [value for row in rows for value in row]
        shape = [len(rows), len(rows[0])]
        tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": flat}
        path = f"/v2/models/{'echo' if case == 'D' else 'tab'}/infer"
        return Request(path, _JSON, json.dumps({"inputs": [tensor]}).encode(), vary)
    path = {"penstock": _our_path(case)}.get(style, "/d" if case == "D" else "/ab")
    return Request(path, _JSON, json.dumps(rows).encode(), vary)


def image_request(style: str, number: int = 0) -> Request:
    """Return the request of case C with one of the images."""
    body, headers = multipart(image(number), "files" if style == "penstock" else "file")
    return Request(_our_path("C") if style == "penstock" else "/c", headers, body)


def requests_of(style: str, case: str) -> list[Request]:
    """Return what a case sends, in turn: case A sends 32 different rows, one at a time."""
    if case == "C":
        return [image_request(style)]
    rows = all_rows()
    if case in {"A", "H"}:
        return [rows_request(style, case, [row]) for row in rows]
    return [rows_request(style, case, rows if case == "B" else rows[:1])]


def _our_path(case: str) -> str:
    name = {"A": "ab", "B": "ab", "H": "ab"}.get(case, case.lower())
    return f"/v1/default/bench-{name}/predict"


def read_answer(raw: bytes) -> Any:
    """Return the result in an answer of any of the servers."""
    answer = json.loads(raw)
    if isinstance(answer, dict) and "result" in answer:
        return answer["result"]
    if isinstance(answer, dict) and "outputs" in answer:
        return _from_v2(answer["outputs"])
    return answer


def _from_v2(outputs: list[dict[str, Any]]) -> Any:
    tensors = {tensor["name"]: tensor for tensor in outputs}
    if "label" in tensors:
        pairs = zip(tensors["label"]["data"], tensors["p"]["data"], strict=True)
        return [{"label": int(label), "p": float(p)} for label, p in pairs]
    data, width = outputs[0]["data"], outputs[0]["shape"][-1]
    return [data[at : at + width] for at in range(0, len(data), width)]
