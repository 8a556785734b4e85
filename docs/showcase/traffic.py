"""Calls the showcase from threads, at rates that rise and fall, until told to stop."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from typing import Any

import httpx2

from penstock.codec.request import encode_request


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
            self._thread("iris-classes", 4 * share, lambda r: _rows(made["iris_rows"], r)),
            self._thread("photo-tags", 3 * share, lambda r: _rows(["a", "letter", "note"], r)),
        ]

    def _thread(self, name: str, rate: float, make: Any) -> threading.Thread:
        return threading.Thread(target=self._call, args=(name, rate, make), daemon=True)

    def _call(self, name: str, rate: float, make: Any) -> None:
        rng = random.Random(name)
        phase = rng.uniform(0, 6)
        while not self._over.is_set():
            asked = make(rng)
            headers = {"Content-Type": asked.media_type}
            try:
                self._client.post(
                    f"/v1/default/{name}/predict", content=asked.to_bytes(), headers=headers
                )
            except httpx2.HTTPError:
                if self._over.is_set():
                    return
            swell = 1 + 0.35 * math.sin(time.time() / 40 + phase)
            self._over.wait(rng.expovariate(rate * swell))

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._client.close()


def _pictures(digits: dict[str, Any], rng: random.Random) -> Any:
    files = rng.sample(digits["files"], rng.randint(1, 4))
    return encode_request([file.stem for file in files], files=files)


def _customers(customers: list[dict[str, Any]], rng: random.Random) -> Any:
    chosen = [dict(one) for one in rng.sample(customers, rng.randint(1, 3))]
    if rng.random() < 0.06:
        chosen[0].pop("tenure_months")
    return encode_request(json.loads(json.dumps(chosen)))


def _rows(rows: list[Any], rng: random.Random) -> Any:
    return encode_request(rng.sample(rows, min(len(rows), rng.randint(1, 3))))
