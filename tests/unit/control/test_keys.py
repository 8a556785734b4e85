from __future__ import annotations

import asyncio
import functools
import hashlib
import re

import pytest

from penstock.core.errors import Conflict, InvalidSetting, NotFound, Unauthorized
from penstock.core.records import Scope

GIVEN = "an-admin-key-from-the-environment"


def test_an_issued_key_has_the_form_of_its_scope_and_is_kept_as_its_hash(with_parts):
    async def scenario(parts):
        await parts.projects.add("vision")
        for scope in (Scope.DEPLOY, Scope.PREDICT, Scope.READ):
            key, record = await parts.keys.issue(scope, "vision", "laptop")
            assert re.fullmatch(rf"pk_{scope.value[0]}_[0-9a-f]{{8}}_[\w-]{{32}}", key)
            assert key.startswith(record.prefix + "_")
            assert record.digest == hashlib.sha256(key.encode()).digest()
            assert (record.project, record.label, record.created_at) == ("vision", "laptop", 1000.0)
        key, record = await parts.keys.issue(Scope.ADMIN, None)
        assert key.startswith("pk_a_")
        assert record.project is None
        assert len(await parts.keys.list()) == 4
        assert len(await parts.keys.list("vision")) == 3

    with_parts(scenario)


@pytest.mark.parametrize(
    "header", ["{}", "Bearer {}", "bearer {}", "BEARER   {}", "Key {}", "  {}  ", "\tBearer {} "]
)
def test_a_key_is_found_in_every_form_of_the_header(with_parts, header):
    async def scenario(parts):
        key, record = await parts.keys.issue(Scope.ADMIN, None)
        assert parts.keys.check(header.format(key).encode()) == record

    with_parts(scenario)


@pytest.mark.parametrize(
    "header",
    [None, b"", b"  ", b"Bearer", b"Bearer ", b"Basic {}", b"Bearer {} x", b"{}x", b"\xff"],
)
def test_anything_else_is_unauthorized(with_parts, header):
    async def scenario(parts):
        key, record = await parts.keys.issue(Scope.ADMIN, None)
        sent = header and header.replace(b"{}", key.encode())
        with pytest.raises(Unauthorized) as caught:
            parts.keys.check(sent)
        assert key not in repr(caught.value) + str(caught.value.to_dict())
        for near in (record.prefix, key[:-1], key.upper(), record.digest.hex()):
            with pytest.raises(Unauthorized):
                parts.keys.check(near.encode())

    with_parts(scenario)


def test_keys_of_one_prefix_are_told_apart(with_parts, monkeypatch):
    prefix = "pk_r_0123abcd"
    texts = iter([f"{prefix}_{'a' * 32}", f"{prefix}_{'a' * 31}b", f"{prefix}_{'b' * 32}"])
    monkeypatch.setattr("penstock.control.keys.make_key", lambda _scope: (next(texts), prefix))

    async def scenario(parts):
        await parts.projects.add("one")
        await parts.projects.add("two")
        first = await parts.keys.issue(Scope.READ, "one")
        second = await parts.keys.issue(Scope.READ, "two")
        third = await parts.keys.issue(Scope.READ, "two")
        assert {first.record.prefix, second.record.prefix, third.record.prefix} == {prefix}
        await parts.keys.revoke(second.record.key_id)
        with pytest.raises(Unauthorized, match="revoked"):
            parts.keys.check(second.text.encode())
        assert parts.keys.check(first.text.encode()).project == "one"
        assert parts.keys.check(third.text.encode()).project == "two"
        for near in (prefix, f"{prefix}_", first.text[:-1], first.text + "a", third.text.upper()):
            with pytest.raises(Unauthorized):
                parts.keys.check(near.encode())

    with_parts(scenario)


def test_a_revoked_key_is_refused_at_once_and_after_a_restart(with_parts):
    async def scenario(parts):
        kept, revoked = [await parts.keys.issue(Scope.ADMIN, None) for _ in range(2)]
        parts.clock.time = 2000.0
        assert (await parts.keys.revoke(revoked.record.key_id)).revoked_at == 2000.0
        check(parts, kept.text, revoked.text)
        assert (await parts.keys.revoke(revoked.record.key_id)).revoked_at == 2000.0
        with pytest.raises(NotFound, match="'nokey'"):
            await parts.keys.revoke("nokey")
        return kept.text, revoked.text

    def check(parts, kept: str, revoked: str) -> None:
        assert parts.keys.check(kept.encode())
        with pytest.raises(Unauthorized, match="revoked"):
            parts.keys.check(revoked.encode())

    texts = with_parts(scenario)

    async def after_restart(parts):
        check(parts, *texts)

    with_parts(after_restart)


def test_a_revocation_whose_caller_goes_away_holds_if_it_was_made(with_parts):
    async def scenario(parts):
        key, record = await parts.keys.issue(Scope.ADMIN, None)
        revoking = asyncio.ensure_future(parts.keys.revoke(record.key_id))
        await asyncio.sleep(0)
        revoking.cancel()
        await asyncio.gather(revoking, return_exceptions=True)
        stored = (await parts.keys.list())[0]
        if stored.revoked_at is None:
            assert parts.keys.check(key.encode())
        else:
            with pytest.raises(Unauthorized):
                parts.keys.check(key.encode())

    with_parts(scenario)


def test_a_key_is_of_one_project_or_an_admin_key(with_parts):
    async def scenario(parts):
        await parts.projects.add("vision")
        with pytest.raises(Conflict):
            await parts.keys.issue(Scope.ADMIN, "vision")
        with pytest.raises(Conflict):
            await parts.keys.issue(Scope.DEPLOY, None)
        with pytest.raises(NotFound, match="'nowhere'"):
            await parts.keys.issue(Scope.DEPLOY, "nowhere")
        assert await parts.keys.list() == []

    with_parts(scenario)


def test_no_text_of_a_key_is_in_any_repr_or_in_the_files(with_parts):
    async def scenario(parts):
        first = await parts.keys.bootstrap(GIVEN)
        shown = repr(first) + repr(parts.keys) + repr(await parts.keys.list())
        return shown, [GIVEN, first.private.text, first.public.text]

    shown, texts = with_parts(scenario)
    assert not any(text in shown for text in texts)

    async def look(parts):
        kept = b"".join(p.read_bytes() for p in parts.folder.rglob("*") if p.is_file())
        assert not any(text.encode() in kept for text in texts)

    with_parts(look)


def test_a_new_server_gets_its_first_project_and_keys_once(with_parts):
    async def scenario(parts):
        first = await parts.keys.bootstrap()
        allowed = {
            "admin": (Scope.ADMIN, None),
            "private": (Scope.DEPLOY, "default"),
            "public": (Scope.PREDICT, "default"),
        }
        for name, (scope, project) in allowed.items():
            record = parts.keys.check(getattr(first, name).text.encode())
            assert (record.scope, record.project) == (scope, project)
        assert [p.name for p in await parts.projects.list()] == ["default"]
        assert await parts.keys.bootstrap() is None

    with_parts(scenario)

    async def after_restart(parts):
        assert await parts.keys.bootstrap() is None
        assert len(await parts.keys.list()) == 3

    with_parts(after_restart)


def test_a_given_admin_key_takes_the_place_of_the_first_one(with_parts):
    async def scenario(parts):
        first = await parts.keys.bootstrap(GIVEN)
        assert first.admin is None
        assert first.private.text.startswith("pk_d_")
        assert parts.keys.check(GIVEN.encode()).scope is Scope.ADMIN

    async def again(parts):
        assert await parts.keys.bootstrap(GIVEN) is None
        assert parts.keys.check(GIVEN.encode())
        assert len(await parts.keys.list()) == 3

    with_parts(scenario)
    with_parts(again)


def test_a_given_admin_key_replaces_the_one_given_before_back_and_forth(with_parts):
    async def start(parts, given: str, other: str):
        await parts.keys.bootstrap(given)
        assert parts.keys.check(given.encode()).scope is Scope.ADMIN
        with pytest.raises(Unauthorized):
            parts.keys.check(other.encode())
        assert len(await parts.keys.list()) == 3

    one, two = GIVEN, GIVEN + "-2"
    for given, other in ((one, two), (two, one), (one, two)):
        with_parts(functools.partial(start, given=given, other=other))

    async def without(parts):
        assert await parts.keys.bootstrap() is None
        assert parts.keys.check(one.encode())

    with_parts(without)


def test_a_given_admin_key_that_was_revoked_stays_refused(with_parts):
    async def scenario(parts):
        await parts.keys.bootstrap(GIVEN)
        await parts.keys.revoke(parts.keys.check(GIVEN.encode()).key_id)
        with pytest.raises(Conflict, match="was revoked"):
            await parts.keys.bootstrap(GIVEN)
        with pytest.raises(Unauthorized):
            parts.keys.check(GIVEN.encode())

    with_parts(scenario)


def test_a_key_of_less_scope_cannot_be_given_as_admin_key(with_parts):
    async def scenario(parts):
        first = await parts.keys.bootstrap()
        with pytest.raises(Conflict, match="not an admin key"):
            await parts.keys.bootstrap(first.public.text)
        assert await parts.keys.bootstrap(first.admin.text) is None
        assert parts.keys.check(first.admin.text.encode()).label != "PENSTOCK_ADMIN_KEY"

    with_parts(scenario)


@pytest.mark.parametrize(
    "text", ["", "short", "with spaces in between", "ünïcödé-and-long-enough", "a" * 20 + "\n"]
)
def test_a_given_admin_key_must_be_long_and_fit_in_a_header(with_parts, text):
    async def scenario(parts):
        with pytest.raises(InvalidSetting) as caught:
            await parts.keys.bootstrap(text)
        assert not text or text not in str(caught.value)
        assert await parts.keys.list() == []

    with_parts(scenario)
