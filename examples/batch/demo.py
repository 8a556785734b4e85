"""Score a table in batches that the server works through by itself; webhooks tell of each end.

Nobody has to wait for the scoring: the batches are safe on the server's disk once submitted, and
the receiver may be another machine. Here it runs in this process, so the server is allowed to
call this machine (`webhook_allow`), which it otherwise never does.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import flow as batch
import httpx2
import train
from own_server import own_server
from receiver import Receiver

from penstock import deploy
from penstock.client.config import resolve

ROWS_PER_BATCH = 20
PATIENCE_S = 60.0


def webhook_secret(url: str) -> str:
    """Fetch the project's secret, which is shown once."""
    response = httpx2.get(
        f"{url}/v1/default/webhooks/secret", headers={"Authorization": resolve().api_key}
    )
    return str(response.raise_for_status().json()["secret"])


def write_table(path: Path, scores: list[float], truths: list[float]) -> float:
    """Write the scores beside the truths; return the mean absolute error."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["patient", "predicted", "really"])
        table.writerows((n, s, t) for n, (s, t) in enumerate(zip(scores, truths, strict=True)))
    return statistics.fmean(abs(s - t) for s, t in zip(scores, truths, strict=True))


def collected(runs: Any, events: dict[str, Any]) -> list[float]:
    """Put the results that came by webhook into the order of the batches."""
    by_run = {event["run_id"]: event["result"] for event in events.values()}
    return [score for run in runs for score in by_run[run.run_id]]


def main() -> None:
    """Run the whole demonstration."""
    with Receiver() as receiver, own_server(webhook_allow="127.0.0.1") as (url, folder):
        receiver.secret = webhook_secret(url)
        print("2. Fitting a regressor on scikit-learn's diabetes data ...")
        made = train.main(folder / "models")
        rows, truths = made["rows"], made["truths"]

        print("3. Deploying the flow")
        endpoint = deploy(batch.flow(folder / "models"), "progress", example=rows[:2])

        batches = [rows[at : at + ROWS_PER_BATCH] for at in range(0, len(rows), ROWS_PER_BATCH)]
        print(f"4. Submitting {len(rows)} rows in {len(batches)} batches")
        runs = endpoint.submit_many(batches, webhook=receiver.url, priority=-1)

        print(f"5. Webhooks come to {receiver.url}")
        if not receiver.wait_for(len(runs), PATIENCE_S):
            raise SystemExit(f"only {len(receiver.events)} of {len(runs)} webhooks came")
        print(f"   {len(receiver.events)} came, {receiver.refused} with a wrong signature")
        scores = collected(runs, receiver.events)
        error = write_table(folder / "scores.csv", scores, truths)
        print(f"   the runs say the same: {scores == [s for run in runs for s in run.result()]}")
        print(f"   {len(scores)} rows in scores.csv; mean absolute error {error:.1f}")
        print(f"   Dashboard: {url}/")


if __name__ == "__main__":
    main()
