"""What every store of secrets and of the audit log promises."""

from __future__ import annotations

import pytest

from penstock.core.audit_records import UNFINISHED, AuditEntry
from penstock.core.errors import NotFound
from penstock.core.records import KeyRecord, ProjectRecord, Scope
from penstock.core.secret_records import StoredSecret


@pytest.fixture
def records(open_records):
    opened = open_records()
    for name in ("shop", "other"):
        opened.add_project(ProjectRecord(name, 1.0))
    return opened


def secret(name="A", project="shop", sealed=b"\x00\x01", at=5.0):
    return StoredSecret(project, name, sealed, at, at, "pk_d_1")


def test_a_secret_is_written_changed_and_forgotten(records, open_records):
    assert records.secrets.put(secret())
    assert not records.secrets.put(secret(sealed=b"new", at=9.0))
    records = open_records()
    [found] = records.secrets.list("shop")
    assert (found.sealed, found.created_at, found.updated_at) == (b"new", 5.0, 9.0)
    assert records.secrets.delete("shop", "A")
    assert not records.secrets.delete("shop", "A")
    assert records.secrets.list("shop") == []


def test_secrets_belong_to_a_project_that_exists(records):
    records.secrets.put(secret("B"))
    records.secrets.put(secret("A"))
    records.secrets.put(secret("A", "other"))
    assert [s.name for s in records.secrets.list("shop")] == ["A", "B"]
    assert [s.project for s in records.secrets.get("other", ["A", "B"])] == ["other"]
    with pytest.raises(NotFound):
        records.secrets.put(secret(project="nowhere"))


def test_a_reseal_changes_all_secrets_or_none(records):
    for name in "ABC":
        records.secrets.put(secret(name, sealed=name.encode()))
    assert records.secrets.reseal(lambda p, n, s: f"{p}-{n}-".encode() + s) == 3
    assert records.secrets.list("shop")[0].sealed == b"shop-A-A"

    def breaks(_project, name, sealed):
        if name == "C":
            raise ValueError
        return b"lost"

    with pytest.raises(ValueError):
        records.secrets.reseal(breaks)
    assert all(s.sealed.startswith(b"shop-") for s in records.secrets.list("shop"))


def entry(action, project="shop", at=1.0):
    return AuditEntry(at, project, "k", "pk_d_1", "127.0.0.1", action, "t", 200, {"a": "b"})


def test_the_audit_log_is_read_newest_first_page_by_page(records):
    for number in range(5):
        records.audit.add(entry(f"do-{number}"))
    records.audit.add(entry("elsewhere", "other"))
    records.audit.add(entry("server", None))
    first = records.audit.list("shop", limit=2)
    assert [e.action for e in first] == ["do-4", "do-3"]
    assert first[0].details == {"a": "b"}
    rest = records.audit.list("shop", before=first[-1].seq)
    assert [e.action for e in rest] == ["do-2", "do-1", "do-0"]
    assert [e.action for e in records.audit.list(None, limit=2)] == ["server", "elsewhere"]


def test_old_entries_of_the_audit_log_are_forgotten(records):
    for at in (1.0, 2.0, 3.0):
        records.audit.add(entry("do", at=at))
    assert records.audit.purge(2.5) == 2
    assert [e.at for e in records.audit.list(None)] == [3.0]


def test_a_key_keeps_what_it_was_granted_and_when_it_was_used(records, open_records):
    key = KeyRecord(
        "k1", b"d" * 32, "pk_r_1", Scope.READ, "shop", "ci", 1.0,
        deployments=("a", "b"), expires_at=9.0, created_by="pk_d_1", rate_per_s=2.5,
    )  # fmt: skip
    records.add_key(key)
    records = open_records()
    assert records.list_keys("shop") == [key]
    records.mark_keys_used(["k1", "unknown"], 7.0)
    assert records.list_keys("shop")[0].last_used_at == 7.0


def test_an_entry_of_the_audit_log_is_finished_once(records, open_records):
    begun = AuditEntry(1.0, "shop", "k", "pk_d_1", "127.0.0.1", "do", "t", UNFINISHED)
    first, second = records.audit.add(begun), records.audit.add(begun)
    assert second > first
    records.audit.finish(first, 201, {"key": "pk"})
    records.audit.finish(first, 500, {})
    records = open_records()
    found = {e.seq: (e.status, e.details) for e in records.audit.list("shop")}
    assert found == {first: (201, {"key": "pk"}), second: (UNFINISHED, {})}
