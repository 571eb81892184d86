"""What the release before the vault has left is sealed by `visiona migrate`, however often interrupted."""

import hmac
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.conftest import ROLE_SECRETS, SECRET_KEY, _with_database
from tests.factories.keys import key_settings

from visiona.billing.model import Catalogue
from visiona.billing.service import publish_plans
from visiona.bootstrap import open_vault, prepare_database
from visiona.core.clock import SystemClock
from visiona.db import sealing
from visiona.db.migrate import migrate, own_migrations
from visiona.db.roles import APP_ROLE, OWNER_ROLE, WORKER_ROLE, url_for_role
from visiona.db.sealed import SEALED
from visiona.factors.model import open_secret
from visiona.settings import Settings, SettingsError
from visiona.vault.model import Cipher
from visiona.vault.service import Vault
from visiona.vault.stream import is_sealed

BEFORE = 14
PEOPLE = 7
CANARY = "canary-of-the-lighthouse"

_PERSON = f"""
with person as (
  insert into users (clerk_id, email) values (%(subject)s, %(subject)s || '@{CANARY}.example') returning id),
link as (
  insert into email_links (id, user_id, purpose, address, expires_at)
  select gen_random_uuid(), id, 'reset', '{CANARY}@example.com', now() + interval '30 minutes' from person),
mail as (
  insert into mails (id, user_id, kind, address)
  select gen_random_uuid(), id, 'password_changed', '{CANARY}@example.com' from person),
session as (
  insert into sessions (id, user_id, secret_hash, client, expires_at)
  select gen_random_uuid(), id, sha256(%(subject)s::bytea), '{CANARY}', now() + interval '1 day' from person),
key as (
  insert into api_keys (user_id, name, prefix, secret_hash, scopes, expires_at)
  select id, '{CANARY}', 'vsk_' || lpad(id::text, 22, '0'), sha256(%(subject)s::bytea), '{{photos:read}}',
    now() + interval '1 day' from person),
totp as (
  insert into totp_secrets (user_id, secret, confirmed_at) select id, %(totp)s, now() from person),
model as (
  insert into models (user_id, trigger_word, parameters, photo_count, status, version, input_schema)
  select id, 'TOK', '{{}}', 1, 'Ready', 'version', '{{}}' from person returning id, user_id),
usage as (
  insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled, reserved, entry)
  select id, 'images', date_trunc('month', now()), date_trunc('month', now()) + interval '1 month', 'premium',
    1000, 4, 'reserve' from person),
run as (
  insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs, state,
    quota_period, provider_id, finished_at)
  select user_id, id, 'version', 'TOK', '{CANARY} at dusk', false, '{{"prompt": "{CANARY}"}}', 1, 'succeeded',
    date_trunc('month', now()), 'prediction-' || user_id, now() from model)
select id from person
"""


@pytest.fixture
async def old_database(postgres: str, catalogue: Catalogue) -> AsyncGenerator[str]:
    """As the release before the vault has left it."""
    name = f"visiona_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        url = _with_database(postgres, name)
        migrate(url, ROLE_SECRETS, own_migrations()[:BEFORE])
        async with await psycopg.AsyncConnection.connect(url) as owner:
            await owner.execute(f"set local role {OWNER_ROLE}")
            await publish_plans(owner, catalogue)
        yield url
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def settings(old_database: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        secret_key=SECRET_KEY,
        **key_settings(old_database),
        database_url=old_database,
        app_database_url=url_for_role(old_database, APP_ROLE, ROLE_SECRETS.app),
        worker_database_url=url_for_role(old_database, WORKER_ROLE, ROLE_SECRETS.worker),
    )


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def files_with(url: str, text: str) -> set[str]:
    """The tables and indexes in whose files this text is."""
    tables = sorted({column.table for column in SEALED})
    query = """select c.oid::regclass::text, pg_read_binary_file(pg_relation_filepath(c.oid))
        from pg_class c left join pg_index i on i.indexrelid = c.oid
        where c.relkind in ('r', 'i', 't')
          and (c.relname = any(%(tables)s) or i.indrelid::regclass::text = any(%(tables)s)
            or c.oid in (select reltoastrelid from pg_class where relname = any(%(tables)s)))"""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("checkpoint")
        found = connection.execute(query, {"tables": tables}).fetchall()
    return {name for name, data in found if text.encode() in data}


def make_people(url: str, folder: Path) -> list[int]:
    """With a row of most kinds, and an object each."""
    with psycopg.connect(url) as connection:
        people = []
        for number in range(PEOPLE):
            row = connection.execute("select nextval('users_id_seq') + 1").fetchone()
            assert row is not None
            key = hmac.digest(SECRET_KEY.encode(), b"visiona:factors", "sha256")
            about = f"visiona totp {row[0]}".encode()
            totp = b"n" * 12 + AESGCM(key).encrypt(b"n" * 12, b"ONETIMESECRET", about)
            row = connection.execute(_PERSON, {"subject": f"user_{number}", "totp": totp}).fetchone()
            assert row is not None
            people.append(row[0])
    for user_id in people:
        photo = folder / "objects" / f"u{user_id}" / "photos" / "1.jpg"
        photo.parent.mkdir(parents=True)
        photo.write_bytes(b"\xff\xd8" + f"{CANARY} of {user_id}".encode() * 9000)
    return people


def interrupted_after(calls: int, ciphers: Callable[..., Any]) -> Callable[..., Any]:
    """As a process that is killed, once it has asked so often for keys."""

    async def until(vault: Vault, user_ids: Iterable[int]) -> dict[int, Cipher]:
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise SettingsError("interrupted")
        return await ciphers(vault, user_ids)

    return until


async def test_everything_is_sealed_however_often_that_is_interrupted(
    settings: Settings, old_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = make_people(old_database, tmp_path)
    assert "users" in files_with(old_database, CANARY)
    monkeypatch.setattr(sealing, "BATCH", 2)
    whole = Vault.ciphers
    for calls in (3, 9, 12):
        monkeypatch.setattr(Vault, "ciphers", interrupted_after(calls, whole))
        with pytest.raises(SettingsError, match="interrupted"):
            await prepare_database(settings)
    monkeypatch.setattr(Vault, "ciphers", whole)
    await prepare_database(settings)

    assert files_with(old_database, CANARY) == set()
    assert rows(old_database, "select conname from pg_constraint where not convalidated") == []
    vault = open_vault(settings, SystemClock())
    await vault.open()
    found = rows(
        old_database,
        """select u.id, u.email, u.email_index, t.secret, r.prompt, r.inputs
           from users u join runs r on r.user_id = u.id join totp_secrets t on t.user_id = u.id
           order by u.id""",
    )
    assert [row[0] for row in found] == people
    for number, (user_id, email, index, totp, prompt, inputs) in enumerate(found):
        cipher = await vault.cipher(user_id)
        address = f"user_{number}@{CANARY}.example"
        assert cipher.open("users.email", email) == address
        assert index == vault.blind_index("email", address)
        assert open_secret(cipher, totp) == "ONETIMESECRET"
        assert cipher.open("runs.prompt", prompt) == f"{CANARY} at dusk"
        assert cipher.open("runs.inputs", inputs) == f'{{"prompt": "{CANARY}"}}'
        key = f"u{user_id}/photos/1.jpg"
        photo = tmp_path / "objects" / key
        assert is_sealed(photo.read_bytes())
        cipher.open_file(key, photo, tmp_path / "opened")
        assert (tmp_path / "opened").read_bytes()[2:] == f"{CANARY} of {user_id}".encode() * 9000
    await vault.aclose()

    monkeypatch.setattr(Vault, "ciphers", interrupted_after(0, whole))
    await prepare_database(settings)  # which finds nothing left to do


async def test_whoever_has_lost_their_key_is_not_given_another(
    settings: Settings, old_database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the first has sealed would be just as unreadable, and nobody would know why."""
    lost, *others = make_people(old_database, tmp_path)
    await prepare_database(settings)
    for folder in (settings.keys_url, settings.keys_mirror_url):
        assert folder is not None
        (Path(folder.removeprefix("file://")) / f"u{lost}.json").unlink()
    with psycopg.connect(old_database, autocommit=True) as connection:
        connection.execute("alter table users drop constraint users_email_sealed")
        connection.execute(
            r"alter table users add constraint users_email_sealed"
            r" check (substring(email from 1 for 1) = '\xf8') not valid"
        )
    await prepare_database(settings)
    assert f"the key of user {lost} is lost" in caplog.text
    vault = open_vault(settings, SystemClock())
    assert (await vault.people()) == set(others)
    await vault.aclose()
