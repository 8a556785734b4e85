"""The sender, over real stores and a receiver on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections import defaultdict

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from penstock.control.addresses import Allowance
from penstock.control.database import Database
from penstock.control.deliveries import Deliveries, DeliveryFilter
from penstock.control.outgoing import Outgoing
from penstock.control.run_payloads import RunPayloads
from penstock.control.secrets import Secrets
from penstock.control.webhook_bodies import WebhookBodies
from penstock.control.webhook_schedule import Schedule
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.control.webhooks import SendOptions, Webhooks
from penstock.core import faults
from penstock.core.delivery_records import DeliveryState
from penstock.core.errors import Conflict, NotFound
from penstock.core.names import new_run_id
from penstock.core.records import ProjectRecord
from penstock.core.run_records import NewRun, Outcome, Payload
from penstock.core.states import RunState
from penstock.server.errors import status_of
from penstock.stores.files import FileBlobs
from penstock.stores.keyring import Keyring
from penstock.stores.sqlite_memory import SqliteMemory
from penstock.stores.sqlite_records import SqliteRecords

#: The real schedule, a thousand times as fast.
QUICK = Schedule(first=(0.005, 0.03, 0.05), then=0.05, until=0.2)


class Receiver:
    """Answers posts as told: a status, or `"drop"`, `"hang"`, `"slow"`."""

    def __init__(self) -> None:
        self.answers: dict[str, list[object]] = {}
        self.got: list[tuple[str, dict[str, str], bytes, float]] = []
        self.inside: dict[str, int] = defaultdict(int)
        self.most_inside: dict[str, int] = defaultdict(int)
        self.changed = asyncio.Condition()
        self.released = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = lines[0].split(" ")[1]
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            headers = {name.lower(): value for name, value in headers.items()}
            body = await reader.readexactly(int(headers["content-length"]))
            async with self.changed:
                self.got.append((path, headers, body, time.monotonic()))
                self.changed.notify_all()
            await self._answer(path, writer)
        writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        planned = self.answers.get(path, [])
        answer = planned.pop(0) if len(planned) > 1 else (planned or [200])[0]
        self.inside[path] += 1
        self.most_inside[path] = max(self.most_inside[path], self.inside[path])
        try:
            if answer == "hang":
                await self.released.wait()
            elif answer == "slow":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
                await writer.drain()
                await self.released.wait()
            elif answer != "drop":
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % answer)
                await writer.drain()
        finally:
            self.inside[path] -= 1

    async def wait_for(self, count: int) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: len(self.got) >= count), 10)


class Site:
    """A records file, a receiver, and the sender between them."""

    def __init__(self, folder, database, receiver, port) -> None:
        self.folder = folder
        self.database = database
        self.store = database.records.webhooks
        self.receiver = receiver
        self.origin = f"http://127.0.0.1:{port}"
        self.payloads = RunPayloads(FileBlobs(folder / "blobs"))
        self.sealed = Secrets(database, Keyring(folder / "secrets.keys"))
        self.secrets = WebhookSecrets(database, self.sealed)
        self.senders: list[Webhooks] = []
        self.deliveries = Deliveries(database, lambda: [s.wake() for s in self.senders])

    def sender(self, schedule: Schedule = QUICK, timeout_s: float = 5.0, **options) -> Webhooks:
        bodies = WebhookBodies(self.database, self.payloads, status_of, "http://here", 2000)
        made = Webhooks(
            self.database,
            Outgoing(Allowance("127.0.0.0/8"), timeout_s=timeout_s),
            self.secrets,
            bodies.read,
            SendOptions(schedule=schedule, user_agent="Penstock/test", **options),
        )
        self.senders.append(made)
        made.start()
        return made

    async def end_run(self, path: str, result: bytes | None = b"[1]", **how) -> str:
        """Accept a run, claim it, end it; the delivery comes with the end."""
        run_id, runs, now = new_run_id(), self.database.records.runs, time.time()
        url = path if "://" in path else self.origin + path
        new = NewRun(
            run_id, "default", "flow", "key", now, "application/json",
            Payload(b"[1]", None, 3), webhook_url=url,
        )  # fmt: skip
        await self.database.call(runs.add, [new])
        await self.database.call(runs.claim, "me", {("default", "flow"): 1}, now, 60.0)
        kept = None if result is None else await self.payloads.keep(result)
        ended = {"state": RunState.SUCCEEDED, "result": kept, **how}
        outcome = Outcome(run_id, 1, at=now, run_time_ms=2.5, points=1, **ended)
        assert await self.database.call(runs.finish, [outcome]) == [True]
        for sender in self.senders:
            sender.wake()
        return run_id

    async def all(self, **wanted):
        return await self.deliveries.list("default", DeliveryFilter(**wanted), 500)

    async def settled(self, count: int = 1) -> list:
        """Return the deliveries once `count` of them are at their end."""
        begun = time.monotonic()
        while True:
            found = [d for d in await self.all() if d.state is not DeliveryState.PENDING]
            if len(found) >= count:
                return found
            assert time.monotonic() - begun < 25, await self.all()
            await asyncio.sleep(0.002)

    async def close(self) -> None:
        while self.senders:
            await self.senders.pop().close()


@pytest.fixture
def with_site(tmp_path):
    """Run `story(site)`; called again, it is the server's next start, with the same receiver."""
    ports = [0]

    def run(story) -> None:
        async def whole() -> None:
            database = await Database.open(
                lambda: SqliteRecords(tmp_path / "records.sqlite"),
                lambda: SqliteMemory(tmp_path / "memory.sqlite"),
            )
            receiver = Receiver()
            server = await asyncio.start_server(receiver.serve, "127.0.0.1", ports[0])
            with contextlib.suppress(Conflict):
                await database.call(database.records.add_project, ProjectRecord("default", 1.0))
            ports[0] = server.sockets[0].getsockname()[1]
            site = Site(tmp_path, database, receiver, ports[0])
            try:
                await story(site)
            finally:
                await site.close()
                receiver.released.set()
                server.close()
                await database.close()

        asyncio.run(asyncio.wait_for(whole(), 30))

    return run


def test_the_end_of_a_run_is_told_at_once_signed_and_flat(with_site) -> None:
    async def story(site) -> None:
        site.sender()
        run_id = await site.end_run("/hook", b'[{"a":1}]')
        (delivery,) = await site.settled()
        ((path, headers, body, _at),) = site.receiver.got
        secret = (await site.secrets.show("default")).secret
        told = Webhook(secret).verify(body, headers)
        assert path == "/hook"
        assert (told["type"], told["status_code"]) == ("run.succeeded", 200)
        assert (told["run_id"], told["run_time_ms"], told["result"]) == (run_id, 2.5, [{"a": 1}])
        assert told["prediction_ids"] == [f"{run_id}-0"]
        assert headers["webhook-id"] == delivery.id
        assert headers["content-type"] == "application/json"
        assert headers["user-agent"] == "Penstock/test"
        assert (delivery.state, delivery.attempt, delivery.last_status) == ("delivered", 1, 200)
        assert delivery.delivered_at is not None

    with_site(story)


def test_a_store_that_breaks_unforeseen_does_not_end_the_sending_for_good(
    with_site, monkeypatch
) -> None:
    monkeypatch.setattr("penstock.control.webhooks.STORE_RETRY_S", 0.01)

    async def story(site) -> None:
        works, times = site.store.due, 0

        def breaks(*args):
            nonlocal times
            times += 1
            if times == 1:
                raise ValueError("No state 'sleeping'.")
            return works(*args)

        monkeypatch.setattr(site.store, "due", breaks)
        site.sender()
        await site.end_run("/hook", b"[1]")
        (delivery,) = await site.settled()
        assert delivery.state == "delivered"

    with_site(story)


def test_failures_are_told_without_tracebacks_and_cancelling_is_told(with_site) -> None:
    async def story(site) -> None:
        site.sender()
        error = {"code": "function_failed", "message": "pre raised.", "traceback": "secret"}
        failed = {"state": RunState.FAILED, "error": json.dumps(error).encode()}
        await site.end_run("/failed", None, **failed)
        await site.end_run("/cancelled", None, state=RunState.CANCELLED)
        await site.settled(2)
        told = {path: json.loads(body) for path, _headers, body, _at in site.receiver.got}
        assert told["/failed"]["type"] == "run.failed"
        assert told["/failed"]["status_code"] == 500
        assert told["/failed"]["message"] == "pre raised."
        assert told["/failed"]["error"]["code"] == "function_failed"
        assert "traceback" not in told["/failed"]["error"]
        assert told["/cancelled"]["type"] == "run.cancelled"
        assert told["/cancelled"]["status_code"] == 499

    with_site(story)


def test_an_attempt_that_breaks_unforeseen_waits_its_turn(with_site, monkeypatch) -> None:
    post, breaks = Outgoing.post, [True, True]

    async def unforeseen(*arguments):
        if breaks:
            breaks.pop()
            raise ValueError("nobody thought of this")
        return await post(*arguments)

    monkeypatch.setattr(Outgoing, "post", unforeseen)

    async def story(site) -> None:
        site.sender()
        await site.end_run("/hook")
        (delivery,) = await site.settled()
        assert (delivery.state, delivery.attempt) == ("delivered", 3)
        attempts = await site.database.call(site.store.attempts, delivery.id)
        assert ["failed to send it" in made.error for made in attempts] == [True, True, False]

    with_site(story)


def test_a_large_result_is_left_to_be_fetched(with_site) -> None:
    async def story(site) -> None:
        site.sender()
        run_id = await site.end_run("/hook", b"[%s]" % b",".join([b"1"] * 5000))
        await site.settled()
        told = json.loads(site.receiver.got[0][2])
        assert "result" not in told
        assert told["result_url"] == f"http://here/v1/default/runs/{run_id}"

    with_site(story)


@pytest.mark.parametrize("trouble", [500, 404, 301, 429, "drop"])
def test_what_is_not_taken_is_sent_again_under_the_same_id_until_it_is(with_site, trouble) -> None:
    async def story(site) -> None:
        site.receiver.answers["/hook"] = [trouble, trouble, 204]
        site.sender()
        await site.end_run("/hook")
        (delivery,) = await site.settled()
        assert (delivery.state, delivery.attempt) == ("delivered", 3)
        assert {headers["webhook-id"] for _, headers, _, _ in site.receiver.got} == {delivery.id}
        secret = (await site.secrets.show("default")).secret
        for _path, headers, body, _at in site.receiver.got:
            Webhook(secret).verify(body, headers)
        _, attempts = await site.deliveries.get("default", delivery.id)
        expected = None if trouble == "drop" else trouble
        assert [a.status for a in attempts] == [expected, expected, 204]

    with_site(story)


def test_a_receiver_that_hangs_or_trickles_costs_one_attempt(with_site) -> None:
    async def story(site) -> None:
        site.receiver.answers["/hang"] = ["hang", 200]
        site.receiver.answers["/slow"] = ["slow"]
        site.sender(timeout_s=0.5)
        await site.end_run("/hang")
        await site.end_run("/slow")
        found = {d.url.rpartition("/")[2]: d for d in await site.settled(2)}
        assert (found["hang"].state, found["hang"].attempt) == ("delivered", 2)
        assert (found["slow"].state, found["slow"].attempt) == ("delivered", 1)

    with_site(story)


def test_a_receiver_that_was_away_for_hours_gets_everything_once(with_site) -> None:
    """The real schedule, 36,000 times as fast: the receiver is away for three attempts."""
    real, speed = Schedule(), 36_000
    scaled = Schedule(
        first=tuple(p / speed for p in real.first), then=real.then / speed, until=real.until / speed
    )

    async def story(site) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        site.sender(schedule=scaled, at_once=64)
        runs = {await site.end_run(f"http://127.0.0.1:{port}/hook") for _ in range(20)}
        begun = time.monotonic()
        while min(d.attempt for d in await site.all()) < 3:
            assert time.monotonic() - begun < 25
            await asyncio.sleep(0.002)
        back = await asyncio.start_server(site.receiver.serve, "127.0.0.1", port)
        found = await site.settled(20)
        assert {d.state for d in found} == {DeliveryState.DELIVERED}
        assert {d.run_id for d in found} == runs
        secret = (await site.secrets.show("default")).secret
        told = [Webhook(secret).verify(body, headers) for _, headers, body, _ in site.receiver.got]
        assert sorted(t["run_id"] for t in told) == sorted(runs)
        assert {h["webhook-id"] for _, h, _, _ in site.receiver.got} == {d.id for d in found}
        back.close()

    with_site(story)


def test_the_schedule_ends_and_the_log_keeps_every_attempt(with_site) -> None:
    async def story(site) -> None:
        site.receiver.answers["/hook"] = [503]
        site.sender()
        await site.end_run("/hook")
        (delivery,) = await site.settled()
        tries = len(QUICK.pauses()) + 1
        assert (delivery.state, delivery.attempt, delivery.last_status) == ("failed", tries, 503)
        assert delivery.last_error == "The receiver answered 503."
        assert delivery.next_attempt_at is None
        found, attempts = await site.deliveries.get("default", delivery.id)
        assert found == delivery
        assert len(attempts) == tries == len(site.receiver.got)
        times = [at for *_, at in site.receiver.got]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(g >= p * 0.9 for g, p in zip(gaps, QUICK.pauses(), strict=True))

    with_site(story)


def test_410_ends_it_at_once(with_site) -> None:
    async def story(site) -> None:
        site.receiver.answers["/hook"] = [410]
        site.sender()
        await site.end_run("/hook")
        (delivery,) = await site.settled()
        assert (delivery.state, delivery.attempt, len(site.receiver.got)) == ("failed", 1, 1)
        assert "wants no more" in delivery.last_error

    with_site(story)


def test_an_address_that_is_not_allowed_is_never_called(with_site) -> None:
    async def story(site) -> None:
        site.sender()
        await site.end_run("http://[::1]:1/x")
        (delivery,) = await site.settled()
        assert delivery.state == "failed"
        assert "does not call" in delivery.last_error

    with_site(story)


def test_one_dead_receiver_delays_no_other(with_site) -> None:
    async def story(site) -> None:
        for number in range(20):
            site.receiver.answers[f"/dead/{number}"] = ["hang"]
        site.sender(at_once=8, schedule=Schedule())
        dead = site.origin.replace("127.0.0.1", "127.0.0.2")
        await asyncio.to_thread(_listen_and_say_nothing, site)
        for number in range(20):
            await site.end_run(f"{dead.rpartition(':')[0]}:{site.deaf_port}/dead/{number}")
        for number in range(100):
            await site.end_run(f"/good/{number}")
        good = [d for d in await site.settled(100) if "/good/" in d.url]
        delays = sorted(d.delivered_at - d.created_at for d in good)
        assert len(delays) == 100
        print(f"\n100 good ones beside a dead one: p99 {1e3 * delays[98]:.0f} ms")
        assert delays[98] <= 2.0
        site.deaf.close()

    with_site(story)


def _listen_and_say_nothing(site) -> None:
    site.deaf = socket.create_server(("127.0.0.2", 0), backlog=64)
    site.deaf_port = site.deaf.getsockname()[1]


def test_few_go_to_one_receiver_at_a_time_and_one_to_one_that_fails(with_site) -> None:
    async def story(site) -> None:
        other = await asyncio.start_server(site.receiver.serve, "127.0.0.1", 0)
        good = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/good"
        site.receiver.answers["/hook"] = ["hang"]
        failing = site.sender(at_once=32, timeout_s=0.5, schedule=Schedule())
        for _ in range(9):
            await site.end_run("/hook")
        await site.receiver.wait_for(4)
        await site.end_run(good)
        await site.settled(1)
        assert site.receiver.inside["/hook"] == 4
        await site.receiver.wait_for(4 + 1 + 1)
        await site.end_run(good)
        await site.settled(2)
        begun = [path for path, *_ in site.receiver.got].count("/hook")
        assert begun <= 6, "after four attempts failed, the fifth goes alone"
        await failing.close()
        other.close()

    with_site(story)


def test_deliveries_survive_a_restart_and_an_attempt_cut_off_is_repeated(with_site) -> None:
    async def first(site) -> None:
        site.receiver.answers["/hook"] = ["hang"]
        site.sender()
        await site.end_run("/hook")
        await site.receiver.wait_for(1)
        await site.close()
        (delivery,) = await site.all()
        assert (delivery.state, delivery.attempt) == ("pending", 0)

    async def second(site) -> None:
        old = (await site.all())[0]
        site.sender()
        (delivery,) = await site.settled()
        assert (delivery.id, delivery.state) == (old.id, "delivered")
        assert site.receiver.got[0][1]["webhook-id"] == old.id

    with_site(first)
    with_site(second)


def test_an_attempt_that_cannot_be_recorded_is_recorded_later_and_not_repeated(
    with_site, monkeypatch
) -> None:
    async def story(site) -> None:
        from penstock.core.errors import StoreError

        monkeypatch.setattr("penstock.control.webhooks.STORE_RETRY_S", 0.01)
        real, failures = site.store.settle, [StoreError("full"), StoreError("full")]

        def settle(settlement):
            if failures:
                raise failures.pop()
            return real(settlement)

        monkeypatch.setattr(site.store, "settle", settle)
        site.sender()
        await site.end_run("/hook")
        (delivery,) = await site.settled()
        assert (delivery.state, len(site.receiver.got)) == ("delivered", 1)

    with_site(story)


def test_sending_again_by_hand_keeps_the_id_and_starts_the_schedule_anew(with_site) -> None:
    async def story(site) -> None:
        site.receiver.answers["/hook"] = [410, 500, 200]
        site.sender()
        await site.end_run("/hook")
        (delivery,) = await site.settled()
        again = await site.deliveries.redeliver("default", delivery.id)
        assert (again.state, again.attempt) == ("pending", 0)
        await site.receiver.wait_for(3)
        (done,) = await site.settled()
        assert (done.state, done.attempt) == ("delivered", 2)
        assert {headers["webhook-id"] for _, headers, _, _ in site.receiver.got} == {delivery.id}
        with pytest.raises(NotFound):
            await site.deliveries.redeliver("other", delivery.id)

    with_site(story)


def test_after_a_rotation_both_secrets_verify_for_a_day(with_site) -> None:
    async def story(site) -> None:
        old = await site.secrets.show("default")
        new = await site.secrets.rotate("default")
        site.sender()
        await site.end_run("/hook")
        await site.settled()
        _path, headers, body, _at = site.receiver.got[0]
        for record in (old, new):
            Webhook(record.secret).verify(body, headers)
        tomorrow = WebhookSecrets(site.database, site.sealed, lambda: time.time() + 86401)
        assert await tomorrow.signing("default") == [new.secret]
        assert (await site.secrets.signing("default")) == [new.secret, old.secret]
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "A" * 43 + "=").verify(body, headers)

    with_site(story)


def test_a_secret_is_shown_once(with_site) -> None:
    async def story(site) -> None:
        signing = await site.secrets.signing("default")
        assert (await site.secrets.show("default")).secret == signing[0]
        with pytest.raises(Conflict, match="shown once"):
            await site.secrets.show("default")
        rotated = await site.secrets.rotate("default")
        assert rotated.secret not in signing
        with pytest.raises(Conflict):
            await site.secrets.show("default")
        with pytest.raises(NotFound):
            await site.secrets.rotate("nowhere")

    with_site(story)


def test_deliveries_are_listed_in_pages_and_filtered(with_site) -> None:
    async def story(site) -> None:
        ids = [await site.end_run(f"/{number}") for number in range(5)]
        newest = await site.all()
        assert [d.run_id for d in newest] == ids[::-1]
        page = await site.deliveries.list("default", DeliveryFilter(), 2, newest[1].id)
        assert [d.run_id for d in page] == [ids[2], ids[1]]
        assert [d.run_id for d in await site.all(run_id=ids[3])] == [ids[3]]
        assert await site.all(state=DeliveryState.DELIVERED) == []
        assert await site.all(deployment="other") == []
        assert await site.deliveries.list("other", DeliveryFilter(), 10) == []

    with_site(story)


def test_forgetting_runs_forgets_their_deliveries_but_not_those_to_be_told(with_site) -> None:
    async def story(site) -> None:
        site.receiver.answers["/gone"] = [410]
        site.sender()
        await site.end_run("/gone")
        await site.settled()
        await site.close()
        waiting = await site.end_run("/waiting")
        runs = site.database.records.runs
        assert await site.database.call(runs.purge, time.time() + 1, 0) == 1
        assert [d.run_id for d in await site.all()] == [waiting]

    with_site(story)


def test_the_fault_point_between_post_and_record_is_there(with_site) -> None:
    async def story(site) -> None:
        faults.arm("webhook.posted=raise:1")
        try:
            site.sender()
            await site.end_run("/hook")
            await site.receiver.wait_for(2)
            (delivery,) = await site.settled()
        finally:
            faults.arm("")
        assert delivery.state == "delivered"
        assert len({headers["webhook-id"] for _, headers, _, _ in site.receiver.got}) == 1

    with_site(story)
