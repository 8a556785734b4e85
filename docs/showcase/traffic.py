"""Calls the showcase from threads, at rates that rise and fall, until told to stop."""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx2

from penstock.codec.request import encode_request


class Asked(NamedTuple):
    """A request, and what is true of its data points where that is known afterwards."""

    request: Any
    truths: Sequence[int] = ()


#: Calls a second of each deployment, about.
RATES = {
    "digits": 9.0, "churn-scorer": 14.0, "sensor-anomaly": 20.0, "demand-forecast": 7.0,
    "iris-classes": 4.0, "photo-tags": 3.0, "support-router": 2.0, "invoice-fields": 1.5,
}  # fmt: skip

#: Requests that reach digits at the same time now and then, and seconds between.
_TOGETHER, _APART_S = 6, 1.5


class Traffic:
    """Calls every deployment of the showcase. A context manager.

    Args:
        url: Address of the server.
        key: A key that may predict.
        made: What `models.train` returned.
    """

    def __init__(self, url: str, key: str, made: dict[str, Any]) -> None:
        self._client = httpx2.Client(base_url=url, headers={"Authorization": key}, timeout=30)
        self._over = threading.Event()
        digits, customers = made["digits"], made["customers"]
        words = ["a", "letter", "note", "my card is gone", "where is my parcel"]
        self._makes: dict[str, Callable[[random.Random], Asked]] = {
            "digits": lambda r: _pictures(digits, r),
            "churn-scorer": lambda r: _customers(customers, r),
            "sensor-anomaly": lambda r: _rows(made["cancer_rows"], r),
            "demand-forecast": lambda r: _rows(made["demand_rows"], r),
            "iris-classes": lambda r: _flowers(made["iris_later"], r),
            "photo-tags": lambda r: _rows(words, r),
            "support-router": lambda r: _rows(words, r),
            "invoice-fields": lambda r: _rows(words, r),
        }
        self._threads = [
            self._thread(name, rate, self._makes[name]) for name, rate in RATES.items()
        ]
        self._threads.append(threading.Thread(target=self._bursts, daemon=True))

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

    def once(self, name: str, times: int, version: int | None = None) -> None:
        """Call a deployment, or one of its versions, so many times in a row."""
        rng, part = random.Random(name), "" if version is None else f"/versions/{version}"
        for _ in range(times):
            self._send(f"/v1/default/{name}{part}", self._makes[name](rng))

    def submit(self, name: str, times: int, webhook: str) -> None:
        """Submit asynchronous runs whose ends are told to a webhook."""
        rng = random.Random(name)
        for _ in range(times):
            data = json.loads(self._makes[name](rng).request.to_bytes())
            body = {"data": data, "webhook_endpoint": webhook}
            self._client.post(f"/v1/default/{name}/predict", json=body)

    def _bursts(self) -> None:
        rng = random.Random(5)
        with ThreadPoolExecutor(_TOGETHER) as pool:
            while not self._over.wait(_APART_S):
                asked = [self._makes["digits"](rng) for _ in range(_TOGETHER)]
                with contextlib.suppress(httpx2.HTTPError):
                    list(pool.map(lambda one: self._send("/v1/default/digits", one), asked))

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
            if thread.ident is not None:
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
