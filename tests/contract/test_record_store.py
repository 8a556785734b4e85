from __future__ import annotations

import dataclasses
import hashlib

import pytest

from penstock.core.errors import Conflict, NotFound
from penstock.core.records import KeyRecord, ProjectRecord, Scaling, Scope, VersionSettings
from penstock.core.states import VersionState


def a_key(number: int = 1, project: str | None = "default", **changes) -> KeyRecord:
    record = KeyRecord(
        key_id=f"key{number}",
        digest=hashlib.sha256(str(number).encode()).digest(),
        prefix=f"pk_d_{number:08x}",
        scope=Scope.ADMIN if project is None else Scope.DEPLOY,
        project=project,
        label="for tests",
        created_at=float(number),
    )
    return dataclasses.replace(record, **changes)


def add_version(store, name: str = "flow", project: str = "default", at: float = 5.0, **changes):
    return store.add_version(
        **{
            "project": project,
            "deployment": name,
            "manifest": b'{"a": "\x00\xff"}',
            "settings": VersionSettings(replicas=3, timeout_s=1.5),
            "size_bytes": 2**40,
            "created_at": at,
            "created_by": "key1",
            **changes,
        }
    )


def make_ready(store, number: int, name: str = "flow", at: float = 6.0):
    return store.set_version_state("default", name, number, VersionState.READY, at=at)


def test_projects_are_listed_by_name_and_found(records):
    records.add_project(ProjectRecord("between", 3.0))
    assert [p.name for p in records.list_projects()] == ["between", "default", "other"]
    assert records.get_project("other") == ProjectRecord("other", 2.0)
    assert records.get_project("nobody") is None


def test_a_project_name_is_taken_once(records):
    with pytest.raises(Conflict, match="'other'"):
        records.add_project(ProjectRecord("other", 9.0))
    assert records.get_project("other").created_at == 2.0


def test_keys_come_back_as_they_were_added_oldest_first(records):
    keys = [a_key(3), a_key(1, "other"), a_key(2, None)]
    for key in keys:
        records.add_key(key)
    assert records.list_keys() == [keys[1], keys[2], keys[0]]
    assert records.list_keys("default") == [keys[0]]


def test_a_key_id_and_a_digest_are_taken_once(records):
    records.add_key(a_key(1))
    for same in (a_key(1), a_key(1, key_id="new"), a_key(1, digest=b"x" * 32)):
        with pytest.raises(Conflict):
            records.add_key(same)
    assert records.list_keys() == [a_key(1)]


def test_a_key_needs_its_project(records):
    with pytest.raises(NotFound, match="'nowhere'"):
        records.add_key(a_key(1, "nowhere"))


def test_a_key_is_revoked_once_and_keeps_the_first_time(records):
    records.add_key(a_key(1))
    assert records.revoke_key("key1", 50.0).revoked_at == 50.0
    assert records.revoke_key("key1", 60.0).revoked_at == 50.0
    assert records.list_keys()[0].revoked_at == 50.0
    assert records.revoke_key("nokey", 1.0) is None


def test_the_digest_of_a_deleted_key_may_be_used_again(records):
    records.add_key(a_key(1))
    assert records.delete_key("key1") is True
    assert records.delete_key("key1") is False
    records.add_key(a_key(1, key_id="new"))


def test_versions_count_from_1_in_each_deployment(records):
    assert [add_version(records).number for _ in range(3)] == [1, 2, 3]
    assert add_version(records, "second").number == 1
    assert add_version(records, project="other").number == 1


def test_a_version_comes_back_as_it_was_added(records):
    added = add_version(records)
    assert added.state is VersionState.DEPLOYING
    assert records.get_deployment("default", "flow").versions == (added,)


def test_a_version_needs_its_project(records):
    with pytest.raises(NotFound, match="'nowhere'"):
        add_version(records, project="nowhere")
    assert records.list_deployments() == []


def test_a_version_becomes_ready_and_then_active(records):
    add_version(records)
    ready = make_ready(records, 1, at=7.0)
    assert (ready.state, ready.ready_at) == (VersionState.READY, 7.0)
    records.activate("default", "flow", 1, 8.0)
    deployment = records.get_deployment("default", "flow")
    assert (deployment.active, deployment.updated_at) == (1, 8.0)
    assert deployment.versions == (ready,)
    records.activate("default", "flow", None, 9.0)
    assert records.get_deployment("default", "flow").active is None


def test_how_a_version_is_served_may_be_replaced(records):
    add_version(records)
    changed = VersionSettings(environment="a" * 32)
    assert records.set_version_settings("default", "flow", 1, changed).settings == changed
    found = records.get_deployment("default", "flow")
    assert [version.settings for version in found.versions] == [changed]
    with pytest.raises(NotFound):
        records.set_version_settings("default", "flow", 2, changed)


def test_a_failure_is_kept_with_its_version(records):
    add_version(records)
    failure = {"code": "load_failed", "message": "ü", "stage": 2, "facts": {"logs": ["a"]}}
    records.set_version_state("default", "flow", 1, VersionState.FAILED, at=7.0, failure=failure)
    version = records.get_deployment("default", "flow").versions[0]
    assert (version.failure, version.ready_at) == (failure, None)


@pytest.mark.parametrize("number", [2, None])
def test_only_a_ready_version_that_exists_becomes_active(records, number):
    add_version(records)
    with pytest.raises(Conflict, match="deploying"):
        records.activate("default", "flow", 1, 8.0)
    with pytest.raises(NotFound):
        records.activate("default", "flow", 2, 8.0)
    with pytest.raises(NotFound):
        records.activate("default", "nothing", number, 8.0)
    assert records.get_deployment("default", "flow").active is None


def test_an_illegal_move_changes_nothing(records):
    add_version(records)
    with pytest.raises(Conflict, match="cannot become"):
        records.set_version_state("default", "flow", 1, VersionState.DELETED, at=7.0)
    with pytest.raises(NotFound):
        make_ready(records, 2)
    assert records.get_deployment("default", "flow").versions[0].state is VersionState.DEPLOYING


def test_the_active_version_cannot_be_deleted(records):
    add_version(records)
    make_ready(records, 1)
    records.activate("default", "flow", 1, 8.0)
    with pytest.raises(Conflict, match="active"):
        records.set_version_state("default", "flow", 1, VersionState.DELETED, at=9.0)


def test_a_deleted_version_stays_listed_and_its_number_is_not_used_again(records):
    add_version(records)
    make_ready(records, 1)
    records.set_version_state("default", "flow", 1, VersionState.DELETED, at=9.0)
    assert add_version(records).number == 2
    states = [v.state.value for v in records.get_deployment("default", "flow").versions]
    assert states == ["deleted", "deploying"]


def test_a_deleted_deployment_is_gone_and_its_numbers_go_on(records):
    add_version(records)
    make_ready(records, 1)
    records.activate("default", "flow", 1, 8.0)
    assert records.delete_deployment("default", "flow") is True
    assert records.delete_deployment("default", "flow") is False
    assert records.get_deployment("default", "flow") is None
    assert records.list_deployments() == []
    with pytest.raises(NotFound):
        records.activate("default", "flow", 1, 9.0)

    assert add_version(records, at=20.0).number == 2
    again = records.get_deployment("default", "flow")
    assert (again.active, again.created_at, len(again.versions)) == (None, 20.0, 1)


def test_the_last_version_is_told_of_deployments_that_are_deleted_only(records):
    assert records.last_deleted("default", "flow") == 0
    add_version(records)
    add_version(records)
    add_version(records, "other")
    assert records.last_deleted("default", "flow") == 0
    records.delete_deployment("default", "flow")
    assert records.last_deleted("default", "flow") == 2
    assert records.last_deleted("default", "other") == records.last_deleted("other", "flow") == 0
    add_version(records)
    assert records.last_deleted("default", "flow") == 0


def test_deployments_are_listed_by_name_with_their_versions(records):
    for name in ("zeta", "alpha", "alpha"):
        add_version(records, name)
    add_version(records, "flow", project="other")
    listed = records.list_deployments()
    shape = [(d.project, d.name, [v.number for v in d.versions]) for d in listed]
    assert shape == [
        ("default", "alpha", [1, 2]),
        ("default", "zeta", [1]),
        ("other", "flow", [1]),
    ]
    assert records.list_deployments("other") == listed[2:]
    assert records.list_deployments("nowhere") == []


def test_manifests_are_those_of_versions_that_are_not_deleted(records):
    for number in (1, 2, 3):
        add_version(records, manifest=str(number).encode())
    make_ready(records, 1)
    records.set_version_state("default", "flow", 1, VersionState.DELETED, at=9.0)
    records.set_version_state("default", "flow", 2, VersionState.FAILED, at=9.0)
    add_version(records, "gone", manifest=b"gone")
    records.delete_deployment("default", "gone")
    assert sorted(records.manifests()) == [b"2", b"3"]


def test_everything_is_there_after_reopening(records, open_records):
    records.add_key(a_key(1))
    add_version(records)
    ready = make_ready(records, 1)
    records.activate("default", "flow", 1, 8.0)
    records.delete_deployment("default", "nothing")

    again = open_records()
    assert again.list_keys() == [a_key(1)]
    assert [p.name for p in again.list_projects()] == ["default", "other"]
    assert again.get_deployment("default", "flow").active == 1
    assert again.get_deployment("default", "flow").versions == (ready,)
    assert add_version(again).number == 2


def test_the_limits_of_a_deployment_outlive_its_versions_but_not_the_deployment(records):
    add_version(records)
    assert records.get_deployment("default", "flow").scaling == Scaling()
    records.set_scaling("default", "flow", Scaling(0, 4, 2.5), 7.0)
    assert records.get_deployment("default", "flow").updated_at == 7.0
    add_version(records)
    found = records.get_deployment("default", "flow")
    assert found.scaling == Scaling(0, 4, 2.5)
    assert records.list_deployments()[0].scaling == Scaling(0, 4, 2.5)
    records.delete_deployment("default", "flow")
    with pytest.raises(NotFound):
        records.set_scaling("default", "flow", Scaling(), 8.0)
    add_version(records)
    assert records.get_deployment("default", "flow").scaling == Scaling()
