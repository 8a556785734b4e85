"""Checks answers: one per case before it is measured, and many different ones at once."""

import http.client
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cases import (
    ANSWER_OF,
    Request,
    all_rows,
    image_request,
    read_answer,
    requests_of,
    rows_request,
    stored,
)

#: Different requests sent, and how many at a time.
MIXED = 96
AT_ONCE = 32

#: Numbers may differ by this factor: joined rows are added up in another order.
TOLERANCE = 1e-4


def send(port: int, request: Request, timeout: float = 20.0) -> bytes:
    """Send one request to this machine and return the body of the answer.

    Raises:
        OSError: There is no answer, or its status is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", request.path, request.body, request.headers)
        answer = connection.getresponse()
        raw = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"no answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{answer.status}: {raw[:300]!r}")
    return raw


def same(got: Any, wanted: Any) -> bool:
    """Whether two results are the same but for rounding."""
    if isinstance(wanted, list):
        pairs = isinstance(got, list) and len(got) == len(wanted)
        return pairs and all(map(same, got, wanted))
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(same(got.get(k), v) for k, v in wanted.items())
    if got is None or isinstance(got, str | list | dict):
        return False
    return math.isclose(float(got), float(wanted), rel_tol=TOLERANCE, abs_tol=TOLERANCE / 10)


def check_case(port: int, make: Callable[[str], list[Request]], case: str) -> str:
    """Return "" if the case is answered as it must be, else what is wrong."""
    try:
        got = read_answer(send(port, make(case)[0]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"[:300]
    wanted = stored("answers.json")[ANSWER_OF[case]]
    return "" if same(got, wanted) else f"wrong answer: {json.dumps(got)[:200]}"


def check_mixed(port: int, style: str, headers: dict[str, str], case: str) -> str:
    """Send 96 requests with different data, 32 at a time: each caller must get its own answer."""

    def one(number: int) -> str:
        request, wanted = _different(style, case, number)
        request = request._replace(headers={**request.headers, **headers})
        try:
            got = read_answer(send(port, request))
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{type(error).__name__}: {error}"[:200]
        return "" if same(got, wanted) else f"request {number} got another's answer"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return next((wrong for wrong in pool.map(one, range(MIXED)) if wrong), "")


def _different(style: str, case: str, number: int) -> tuple[Request, Any]:
    """Return request `number` of a mixed check with its answer: rows 1 to 5 long, or an image."""
    answers = stored("answers.json")
    if case == "C":
        return image_request(style, number % 4), answers["C_each"][number % 4]
    rows, labels = all_rows(), answers["B"]
    size = 1 if case == "A" else 1 + number % 5
    picked = [(number + step) % len(rows) for step in range(size)]
    sent = [rows[i] for i in picked]
    wanted = sent if case == "D" else [labels[i] for i in picked]
    return rows_request(style, case, sent), wanted


def first_requests(style: str) -> Callable[[str], list[Request]]:
    """Return the function that gives a style's requests of a case."""
    return lambda case: requests_of(style, case)
