"""People of the database's tests: an actor with a row of each kind, made behind row-level security."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from tests.factories import consents

from visiona.billing.model import calendar_period
from visiona.core.clock import SystemClock
from visiona.db.actor import Anonymous, UserActor
from visiona.db.pool import Connection, Database, fetch_value
from visiona.passwords.service import address_index
from visiona.vault.model import Cipher, new_key
from visiona.vault.service import Vault

# What belongs to nobody in particular; the worker and the system work with it.
_COMMON_ROWS = """
with worker as (
  insert into procrastinate.procrastinate_workers (last_heartbeat) values (now()) returning id),
job as (
  insert into procrastinate.procrastinate_jobs (queue_name, task_name, status)
  values ('parked', 'test', 'cancelled') returning id),
event as (
  insert into procrastinate.procrastinate_events (job_id, type) select id, 'cancelled' from job),
periodic as (
  insert into procrastinate.procrastinate_periodic_defers (task_name, defer_timestamp, periodic_id)
  values ('test', 0, 'test')),
receipt as (
  insert into webhook_receipts (provider, external_id, topic, reference, processed_at)
  values ('test', 'msg_1', 'test', '{}', now())),
departed as (insert into departed_subjects (subject_hash) values (decode(repeat('ab', 32), 'hex'))),
backup_run as (
  insert into backup_runs (kind, set_id, started_at, ok, report) values ('create', 'set', now(), true, '{}')),
attempt as (insert into sign_in_attempts values (decode(repeat('ab', 32), 'hex'), 0, now())),
cost as (insert into cost_days (day, committed) values ('2000-01-01', 0))
insert into rate_limits values (decode(repeat('ab', 32), 'hex'), now(), 60, 0)
"""

_OWN_ROWS = """
with link as (
  insert into email_links (id, user_id, purpose, address, expires_at)
  values (gen_random_uuid(), %(user)s, 'reset', %(email_links_address)s, now() + interval '30 minutes')),
session as (
  insert into sessions (id, user_id, secret_hash, expires_at)
  values (gen_random_uuid(), %(user)s, sha256(%(user)s::text::bytea), now() + interval '1 day')
  returning id),
support_grant as (
  insert into support_grants (user_id, expires_at) values (%(user)s, now() - interval '1 hour')),
totp as (
  insert into totp_secrets (user_id, secret, confirmed_at)
  values (%(user)s, %(totp_secrets_secret)s, now())),
recovery_code as (
  insert into recovery_codes (user_id, code_hash) values (%(user)s, sha256(%(user)s::text::bytea))),
passkey as (
  insert into passkeys (user_id, credential_id, public_key, name, aaguid)
  values (%(user)s, sha256(%(user)s::text::bytea), 'key', %(passkeys_name)s, gen_random_uuid())
  returning id),
passkey_challenge as (
  insert into passkey_challenges (user_id, challenge_hash, expires_at)
  values (%(user)s, sha256(%(user)s::text::bytea), now())),
entitlement as (insert into entitlements (user_id, plan) values (%(user)s, 'premium')),
payment as (
  insert into payments (user_id, stripe_charge_id, amount, currency, status)
  values (%(user)s, 'ch_' || %(user)s, 9, 'eur', 'succeeded')),
idempotency as (
  insert into idempotency_keys (user_id, key, operation, request_hash)
  values (%(user)s, 'key', 'test', '')),
images as (
  insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled, reserved, entry)
  values (%(user)s, 'images', %(period)s, %(period_end)s, 'premium', 1000, 4, 'reserve')),
clones as (
  insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled, reserved, entry)
  values (%(user)s, 'clones', %(period)s, %(period_end)s, 'premium', 10, 1, 'reserve')),
customer as (insert into payment_customers (user_id, mode) values (%(user)s, 'test')),
checkout as (
  insert into checkouts (id, user_id, lookup_key, plan, trial_days, state, session_id, created_at, expires_at)
  values (gen_random_uuid(), %(user)s, 'visiona_premium_month', 'premium', 0, 'complete',
    'cs_test_' || %(user)s, now(), now() + interval '1 hour')),
subscription as (
  insert into subscriptions (id, user_id, status, plan, item_id, price_id, billing_interval, amount,
    currency, period_start, period_end, created_at)
  values ('sub_' || %(user)s, %(user)s, 'canceled', 'premium', 'si_' || %(user)s, 'price_1', 'month', 39,
    'usd', now() - interval '1 month', now(), now() - interval '1 month')),
invoice as (
  insert into invoices (id, user_id, subscription_id, number, status, reason, total, amount_paid,
    amount_remaining, currency, paid_at, created_at)
  values ('in_' || %(user)s, %(user)s, 'sub_' || %(user)s, 'V-' || %(user)s, 'paid', 'subscription_create',
    39, 39, 0, 'usd', now(), now())
  returning id),
mail as (insert into mails (id, user_id, kind) values (gen_random_uuid(), %(user)s, 'password_changed')),
api_key as (
  insert into api_keys (user_id, name, prefix, secret_hash, scopes, expires_at)
  values (%(user)s, %(api_keys_name)s, 'vsk_' || lpad(%(user)s::text, 22, '0'),
    sha256(('key of ' || %(user)s)::bytea), '{photos:read,images:write}', now() + interval '1 day')
  returning id),
consent as (
  insert into consents (id, user_id, subject, state, version, text_sha256, name, client, answered_at)
  values (gen_random_uuid(), %(user)s, 'self', 'given', visiona.consent_version(),
    decode(repeat('ab', 32), 'hex'), %(consents_name)s, %(consents_client)s, now())
  returning id),
pending as (insert into pending_objects (key, user_id) values (%(folder)s || 'pending.jpg', %(user)s)),
photo as (
  insert into photos (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
  values (%(user)s, (select id from consent),
    %(folder)s || '1.jpg', %(folder)s || '1.webp', 1, 1, 1, repeat('1', 64))
  returning id),
spare_photo as (
  insert into photos (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
  values (%(user)s, (select id from consent),
    %(folder)s || '2.jpg', %(folder)s || '2.webp', 1, 1, 1, repeat('2', 64))
  returning id),
model as (
  insert into models (user_id, consent_id, trigger_word, parameters, photo_count, status, version,
    input_schema)
  values (%(user)s, (select id from consent), %(models_trigger_word)s, %(models_parameters)s, 1, 'Ready',
    'version-of-' || %(user)s, '{}') returning id),
spare_model as (
  insert into models (user_id, consent_id, trigger_word, parameters, photo_count, status, error_code)
  values (%(user)s, (select id from consent), %(models_trigger_word)s, %(models_parameters)s, 1,
    'Failed', 'test') returning id),
model_photo as (
  insert into model_photos select %(user)s, model.id, photo.id from model, photo),
training as (
  insert into trainings (user_id, model_id, state, quota_period, provider_id, finished_at)
  select %(user)s, id, 'succeeded', %(period)s, 'training-of-' || %(user)s, now() from model
  returning id),
run as (
  insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
    state, quota_period, provider_id, finished_at)
  select %(user)s, id, 'version-of-' || %(user)s, %(runs_trigger_word)s, %(runs_prompt)s, false,
    %(runs_inputs)s, 1, 'succeeded', %(period)s, 'prediction-of-' || %(user)s, now() from model
  returning id),
generation as (
  insert into generations (user_id, model_id, run_id, position, prompt, image_url, thumbnail_url,
    content_type, width, height, size, sha256, parameters)
  select %(user)s, model.id, run.id, 0, %(generations_prompt)s, %(folder)s || '3.webp',
    %(folder)s || '4.webp', 'image/webp', 1, 1, 1, repeat('3', 64), %(generations_parameters)s from model, run
  returning id),
own_cost as (insert into cost_people values (%(user)s, '2000-01-01', 0)),
work_cost as (
  insert into provider_costs (user_id, work, day, reserved) values (%(user)s, 'run:1', '2000-01-01', 0)),
refusal as (insert into prompt_refusals values (%(user)s, '2000-01-01', 'minors', 1)),
export as (
  insert into exports (user_id, state, object_key, size, sha256, finished_at, expires_at)
  values (%(user)s, 'ready', 'u' || %(user)s || '/exports/1.zip', 1, repeat('5', 64), now(),
    now() + interval '1 day')
  returning id),
report as (
  insert into reports (case_hash, user_id, image_id, reason)
  select sha256(('case of ' || %(user)s)::bytea), %(user)s, generation.id, 'other' from generation
  returning id)
select photo.id as photo, spare_photo.id as spare_photo, model.id as model,
  spare_model.id as spare_model, run.id as run, generation.id as generation, invoice.id as invoice,
  api_key.id as api_key, consent.id as consent, report.id as report,
  passkey.id as passkey, session.id as session, export.id as export
from consent, session, passkey, photo, spare_photo, model, spare_model, run, generation, invoice, api_key,
  report, export
"""


# What is sealed of theirs, by its place.
_WORDS = {
    "email_links.address": "person@example.com",
    "totp_secrets.secret": "JBSWY3DPEHPK3PXP",
    "passkeys.name": "phone",
    "api_keys.name": "a program",
    "consents.name": "Test Person",
    "consents.client": "127.0.0.1",
    "models.trigger_word": "TOK",
    "models.parameters": "{}",
    "runs.trigger_word": "TOK",
    "runs.prompt": "a portrait",
    "runs.inputs": "{}",
    "generations.prompt": "a portrait",
    "generations.parameters": "{}",
}


@dataclass(frozen=True, slots=True)
class Person:
    """`rows` are the ids of theirs, named as in the queries of these tests."""

    actor: UserActor
    rows: Mapping[str, Any]

    @property
    def id(self) -> int:
        return self.actor.user_id


MakeUser = Callable[..., Awaitable[UserActor]]
MakePerson = Callable[[], Awaitable[Person]]
OpenDatabase = Callable[..., AbstractAsyncContextManager[Database]]


async def add_user(
    database: Database,
    *,
    vault: Vault | None = None,
    subject: str | None = None,
    email: str | None = None,
    password_hash: str = "no hash",
) -> UserActor:
    """Somebody who has signed up, as the application's role; without a `vault` nobody has their key.

    They cannot log in, unless it is with the password of a hash.
    """
    subject = subject or f"user_{uuid.uuid4().hex}"
    address = email or f"{subject}@example.com"
    async with database.anonymous() as connection:
        user_id = await fetch_value(connection, "select visiona.next_user_id()", [])
    cipher = Cipher(user_id, new_key()) if vault is None else await vault.create(user_id)
    index = address_hash(address) if vault is None else address_index(vault, address)
    async with database.transaction(Anonymous(looks_up=index.hex())) as connection:
        done = await fetch_value(
            connection,
            "select visiona.sign_up(%s, %s, %s, %s, %s)",
            [user_id, subject, cipher.seal("users.email", address), index, password_hash],
        )
    assert done
    actor = UserActor(user_id, subject)
    async with database.transaction(actor) as connection:
        await connection.execute(consents.OWN, consents.own(cipher))
    return actor


async def add_row(owner: Connection, subject: str, email: str, vault: Vault | None = None) -> int:
    """Somebody with an address and no password, as the superuser. Answers their id."""
    user_id = await fetch_value(owner, "select nextval('users_id_seq')", [])
    cipher = Cipher(user_id, new_key()) if vault is None else await vault.create(user_id)
    index = address_hash(email) if vault is None else address_index(vault, email)
    await owner.execute(
        """insert into users (id, clerk_id, email, email_index) overriding system value
           values (%s, %s, %s, %s)""",
        [user_id, subject, cipher.seal("users.email", email), index],
    )
    return user_id


def address_hash(email: str) -> bytes:
    """In place of an address's index, where there is no vault."""
    return hashlib.sha256(email.encode()).digest()


async def insert_common_rows(owner: Connection) -> None:
    """A row in each table that belongs to no person; once for each database."""
    await owner.execute(_COMMON_ROWS)


async def insert_rows(owner: Connection, actor: UserActor, cipher: Cipher | None = None) -> Person:
    """A row of each kind for `actor`, as the superuser; sealed by a key that nobody has, unless by theirs."""
    cipher = cipher or Cipher(actor.user_id, new_key())
    period = calendar_period(SystemClock().now())
    known = {
        "user": actor.user_id,
        "folder": f"u{actor.user_id}/photos/",
        "period": period.start,
        "period_end": period.end,
        **{place.replace(".", "_"): cipher.seal(place, text) for place, text in _WORDS.items()},
    }
    async with owner.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_OWN_ROWS, known)
        row = await cursor.fetchone()
    assert row is not None
    return Person(actor, known | row)
