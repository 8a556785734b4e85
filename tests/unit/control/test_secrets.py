"""Secrets are kept encrypted and reach the workers of versions that declare them."""

from __future__ import annotations

import base64

import pytest

from penstock.codec.memory import AskSecrets, SecretValues
from penstock.control.secrets import Secrets
from penstock.control.webhook_secrets import WebhookSecrets
from penstock.control.worker_requests import WorkerRequests
from penstock.core.errors import InvalidName, InvalidSetting, NotFound, SecretNotSet
from penstock.engine.base import VersionKey
from penstock.stores.keyring import Keyring

KEY = VersionKey("shop", "flow", 1)


async def shop(parts) -> None:
    await parts.projects.add("shop")
    await parts.projects.add("other")


def on_disk(parts) -> bytes:
    return b"".join(path.read_bytes() for path in parts.folder.iterdir() if path.is_file())


def test_no_value_is_on_disk_in_the_clear(with_parts):
    async def story(parts):
        await shop(parts)
        assert await parts.secrets.set("shop", "TOKEN", "plain-text-value", "pk_d_1")
        assert not await parts.secrets.set("shop", "TOKEN", "plain-text-again", "pk_d_2")
        [info] = await parts.secrets.list("shop")
        assert (info.name, info.updated_by) == ("TOKEN", "pk_d_2")
        assert b"plain-text" not in on_disk(parts)

    with_parts(story)


def test_a_version_gets_what_it_declares_of_its_own_project(with_parts):
    async def story(parts):
        await shop(parts)
        await parts.secrets.set("shop", "A", "value-a-shop", "me")
        await parts.secrets.set("shop", "B", "value-b-shop", "me")
        await parts.secrets.set("other", "A", "value-a-other", "me")
        find = parts.secrets.provider(KEY, ("A", "MISSING"))
        assert await find() == {"A": "value-a-shop"}
        requests = WorkerRequests(parts.memory, None, parts.secrets)
        assert await requests.answer(KEY, AskSecrets()) == SecretValues({"A": "value-a-shop"})
        stranger = VersionKey("shop", "another", 1)
        assert await requests.answer(stranger, AskSecrets()) == SecretValues({})
        assert parts.secrets.provider(stranger, ()) is None

    with_parts(story)


def test_what_is_declared_and_not_set_is_found_out_before_anything_starts(with_parts):
    async def story(parts):
        await shop(parts)
        await parts.secrets.set("shop", "A", "value-a", "me")
        await parts.secrets.check("shop", ["A", "A"])
        with pytest.raises(SecretNotSet, match="no secret B, C") as caught:
            await parts.secrets.check("shop", ["C", "B", "A"])
        assert "penstock secrets set B" in caught.value.hint

    with_parts(story)


@pytest.mark.parametrize("name", ["", "1A", "a b", "a/b", "A" * 65, "ä", "A\n"])
def test_a_name_that_is_none_is_refused(with_parts, name):
    async def story(parts):
        await shop(parts)
        with pytest.raises(InvalidName):
            await parts.secrets.set("shop", name, "value", "me")

    with_parts(story)


@pytest.mark.parametrize("value", ["", "x" * 65537])
def test_a_value_that_is_none_is_refused(with_parts, value):
    async def story(parts):
        await shop(parts)
        with pytest.raises(InvalidSetting, match="A"):
            await parts.secrets.set("shop", "A", value, "me")

    with_parts(story)


def test_a_secret_can_be_deleted_once_and_needs_a_project(with_parts):
    async def story(parts):
        await shop(parts)
        await parts.secrets.set("shop", "A", "value-a", "me")
        await parts.secrets.delete("shop", "A")
        with pytest.raises(NotFound):
            await parts.secrets.delete("shop", "A")
        with pytest.raises(NotFound):
            await parts.secrets.set("nowhere", "A", "value-a", "me")

    with_parts(story)


def test_after_a_rotation_everything_opens_with_the_new_key_alone(with_parts):
    async def story(parts):
        await shop(parts)
        await parts.secrets.set("shop", "A", "value-a", "me")
        signing = await WebhookSecrets(parts.database, parts.secrets).signing("shop")
        before = (parts.folder / "secrets.keys").read_text()
        assert await parts.secrets.rotate() == 2
        after = (parts.folder / "secrets.keys").read_text()
        assert len(after.split()) == 1
        assert after != before
        fresh = Secrets(parts.database, Keyring(parts.folder / "secrets.keys"))
        fresh.provider(KEY, ("A",))
        assert await fresh.values(KEY) == {"A": "value-a"}
        assert await WebhookSecrets(parts.database, fresh).signing("shop") == signing

    with_parts(story)


def test_an_interrupted_rotation_is_finished_at_the_next_start(with_parts):
    async def story(parts):
        await shop(parts)
        await parts.secrets.set("shop", "A", "value-a", "me")
        Keyring(parts.folder / "secrets.keys").begin_rotation()
        fresh = Secrets(parts.database, Keyring(parts.folder / "secrets.keys"))
        await fresh.settle()
        assert len((parts.folder / "secrets.keys").read_text().split()) == 1
        fresh.provider(KEY, ("A",))
        assert await fresh.values(KEY) == {"A": "value-a"}

    with_parts(story)


def test_a_key_from_the_environment_is_replaced_by_giving_both(with_parts):
    old, new = (base64.b64encode(bytes([n] * 32)).decode() for n in (1, 2))

    async def first(parts):
        await shop(parts)
        await parts.secrets.set("shop", "A", "value-a", "me")

    async def both(parts):
        await parts.secrets.settle()

    async def last(parts):
        await parts.secrets.settle()
        parts.secrets.provider(KEY, ("A",))
        assert await parts.secrets.values(KEY) == {"A": "value-a"}

    with_parts(first, keys_given=old)
    with_parts(both, keys_given=f"{new},{old}")
    with_parts(last, keys_given=new)


def test_webhook_secrets_of_an_older_server_are_encrypted_at_the_start(with_parts):
    async def story(parts):
        await shop(parts)
        store = parts.database.records.webhooks
        await parts.database.call(
            store.replace_secret, "shop", "whsec_plainplainplain", 1.0, 1.0, shown=False
        )
        await parts.secrets.settle()
        await parts.secrets.settle()
        [record] = await parts.database.call(store.secrets, "shop", 2.0)
        assert record.secret.startswith("sealed:")
        found = await WebhookSecrets(parts.database, parts.secrets).signing("shop")
        assert found == ["whsec_plainplainplain"]

    with_parts(story)
