"""Keeps the ledger of asynchronous runs from outside the system, and judges it at the end.

Usage: run_ledger.py <address> <project/deployment> <key> <submits per second> <seconds> <patience>

Submits numbers at a fixed rate, each with an idempotency key of its own, and repeats a submit until
it is answered, as a careful client would. What was answered 202 is written down. Each accepted run
is then followed to its end, and read once more when all ends are known. Ends early when standard
input ends. Prints one JSON object:

    accepted    runs answered 202 or 200
    ended       accepted runs that reached a terminal state
    lost        accepted runs that the server does not know, or that did not end in time
    changed     runs whose terminal state, time or result was different when read again
    wrong       succeeded runs whose result is not that of their own input
    twice       idempotency keys that were answered with two run ids
    states      how many runs ended in which state
    retried     submits that had to be repeated
    rate        runs accepted per second, while there was submitting

A flow under test answers `[[number]]` with `[[number, ...]]`; only the first value is compared.
"""

from __future__ import annotations

import http.client
import json
import math
import queue
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

SUBMITTERS = 6
FOLLOWERS = 6


class Ledger:
    def __init__(self, address: str, deployment: str, key: str, patience_s: float) -> None:
        self.host, _, port = address.removeprefix("http://").partition(":")
        self.port = int(port)
        self.project, self.name = deployment.split("/")
        self.headers = {"Authorization": key}
        self.patience_s = patience_s
        self.lock = threading.Lock()
        self.due: queue.Queue[int | None] = queue.Queue()
        self.to_follow: queue.Queue[tuple[int, str] | None] = queue.Queue()
        self.accepted: dict[str, int] = {}
        self.ends: dict[str, dict] = {}
        self.lost: list[str] = []
        self.twice: list[int] = []
        self.retried = 0
        self.took_s = math.inf
        self.stop = threading.Event()
        self.give_up_at = math.inf
        self.local = threading.local()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple:
        """Return status and JSON; (0, None) when the server is not there."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=40)
            self.local.connection = connection
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            connection.close()
            self.local.connection = None
            return 0, None

    def submit_loop(self) -> None:
        while (number := self.due.get()) is not None:
            # On a machine that cannot keep up, what is still to be submitted at the end is not.
            if not self.stop.is_set():
                self.submit(number)

    def submit(self, number: int) -> None:
        path = f"/v1/{self.project}/{self.name}/predict?async=true"
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"ledger-{number}"}
        give_up = time.monotonic() + self.patience_s
        while time.monotonic() < give_up:
            status, body = self.ask("POST", path, b"[[%d]]" % number, **headers)
            if status in {200, 202}:
                run_id = body["run_id"]
                with self.lock:
                    self.accepted[run_id] = number
                self.to_follow.put((number, run_id))
                return
            with self.lock:
                self.retried += 1
            time.sleep(0.1)

    def follow_loop(self) -> None:
        while (entry := self.to_follow.get()) is not None:
            self.follow(*entry)

    def read(self, run_id: str, wait: float) -> tuple:
        return self.ask("GET", f"/v1/{self.project}/runs/{run_id}?wait={wait:g}")

    def follow(self, number: int, run_id: str) -> None:
        behind = self.to_follow.qsize() > FOLLOWERS
        status, body = self.read(run_id, 0.0 if behind else 5.0)
        if status == 200 and body["finished_at"] is not None:
            with self.lock:
                self.ends[run_id] = body
                if self.give_up_at < math.inf:  # it goes on: patience begins anew
                    self.give_up_at = time.monotonic() + self.patience_s
        elif status == 404 or time.monotonic() > self.give_up_at:
            with self.lock:
                self.lost.append(run_id)
        else:
            if status != 200 or behind:
                time.sleep(0.1)
            self.to_follow.put((number, run_id))

    def run(self, rate: float, seconds: float) -> dict:
        submitters = [threading.Thread(target=self.submit_loop) for _ in range(SUBMITTERS)]
        followers = [threading.Thread(target=self.follow_loop) for _ in range(FOLLOWERS)]
        for thread in submitters + followers:
            thread.start()
        begun = time.monotonic()
        self.submit_at(rate, seconds)
        self.took_s = time.monotonic() - begun
        for _ in submitters:
            self.due.put(None)
        for thread in submitters:
            thread.join()
        print("submitted", flush=True)
        self.give_up_at = time.monotonic() + self.patience_s
        while len(self.ends) + len(self.lost) < len(self.accepted):
            time.sleep(0.05)
        for _ in followers:
            self.to_follow.put(None)
        for thread in followers:
            thread.join()
        return self.verdict()

    def submit_at(self, rate: float, seconds: float) -> None:
        begun = time.monotonic()
        number = 0
        while not self.stop.is_set() and time.monotonic() - begun < seconds:
            self.due.put(number)
            number += 1
            self.stop.wait(max(0.0, begun + number / rate - time.monotonic()))

    def verdict(self) -> dict:
        with ThreadPoolExecutor(FOLLOWERS) as threads:
            same = threads.map(self.same_again, self.ends, self.ends.values())
            changed = [run_id for run_id, held in zip(self.ends, same, strict=True) if not held]
        wrong = [
            run_id
            for run_id, end in self.ends.items()
            if end["state"] == "succeeded" and end["result"][0][0] != self.accepted[run_id]
        ]
        numbers = Counter(self.accepted.values())
        return {
            "accepted": len(self.accepted),
            "ended": len(self.ends),
            "lost": self.lost,
            "changed": changed,
            "wrong": wrong,
            "twice": [number for number, times in numbers.items() if times > 1],
            "states": dict(Counter(end["state"] for end in self.ends.values())),
            "errors": dict(Counter(e["error"]["code"] for e in self.ends.values() if "error" in e)),
            "retried": self.retried,
            "rate": round(len(self.accepted) / self.took_s, 1),
        }

    def same_again(self, run_id: str, end: dict) -> bool:
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            status, body = self.read(run_id, 0)
            if status:
                told = ("state", "finished_at", "result", "error", "attempt")
                return status == 200 and all(body.get(k) == end.get(k) for k in told)
            time.sleep(0.1)
        return False


def main() -> None:
    address, deployment, key, rate, seconds, patience = sys.argv[1:]
    ledger = Ledger(address, deployment, key, float(patience))

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        ledger.stop.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    print(json.dumps(ledger.run(float(rate), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
