"""Calls the showcase from threads, at rates that rise and fall, until told to stop."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import httpx2

from penstock.codec.request import encode_request


class Asked(NamedTuple):
    """A request, and what is true of its data points where that is known afterwards."""

    request: Any
    truths: Sequence[int] = ()


class Traffic:
    """Calls every deployment of the showcase. A context manager.

    Args:
        url: Address of the server.
        key: A key that may predict.
        made: What `models.train` returned.
        share: How much of the usual rate.
    """

    def __init__(self, url: str, key: str, made: dict[str, Any], share: float = 1.0) -> None:
        self._client = httpx2.Client(base_url=url, headers={"Authorization": key}, timeout=30)
        self._over = threading.Event()
        digits, customers = made["digits"], made["customers"]
        self._threads = [
            self._thread("digits", 9 * share, lambda r: _pictures(digits, r)),
            self._thread("churn-scorer", 14 * share, lambda r: _customers(customers, r)),
            self._thread("sensor-anomaly", 20 * share, lambda r: _rows(made["cancer_rows"], r)),
            self._thread("demand-forecast", 7 * share, lambda r: _rows(made["demand_rows"], r)),
            self._thread("iris-classes", 4 * share, lambda r: _flowers(made["iris_later"], r)),
            self._thread("photo-tags", 3 * share, lambda r: _rows(["a", "letter", "note"], r)),
        ]

    def _thread(self, name: str, rate: float, make: Any) -> threading.Thread:
        return threading.Thread(target=self._call, args=(name, rate, make), daemon=True)

    def _call(self, name: str, rate: float, make: Any) -> None:
        rng = random.Random(name)
        phase = rng.uniform(0, 6)
        while not self._over.is_set():
            asked = make(rng)
            try:
                self._send(f"/v1/default/{name}", asked)
            except httpx2.HTTPError:
                if self._over.is_set():
                    return
            swell = 1 + 0.35 * math.sin(time.time() / 40 + phase)
            self._over.wait(rng.expovariate(rate * swell))

    def _send(self, base: str, asked: Asked) -> None:
        headers = {"Content-Type": asked.request.media_type}
        answer = self._client.post(
            f"{base}/predict", content=asked.request.to_bytes(), headers=headers
        )
        if asked.truths and answer.is_success:
            told = dict(zip(answer.json()["prediction_ids"], asked.truths, strict=True))
            self._client.post(f"{base}/feedback", json={"feedback": told})

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._client.close()


def _pictures(digits: dict[str, Any], rng: random.Random) -> Asked:
    files = rng.sample(digits["files"], rng.randint(1, 4))
    return Asked(encode_request([file.stem for file in files], files=files))


def _customers(customers: list[dict[str, Any]], rng: random.Random) -> Asked:
    chosen = [dict(one) for one in rng.sample(customers, rng.randint(1, 3))]
    if rng.random() < 0.06:
        chosen[0].pop("tenure_months")
    return Asked(encode_request(json.loads(json.dumps(chosen))))


def _rows(rows: list[Any], rng: random.Random) -> Asked:
    return Asked(encode_request(rng.sample(rows, min(len(rows), rng.randint(1, 3)))))


def _flowers(later: list[tuple[list[float], int]], rng: random.Random) -> Asked:
    chosen = rng.sample(later, rng.randint(1, 3))
    return Asked(encode_request([row for row, _kind in chosen]), [kind for _row, kind in chosen])
