"""Builds one `App` from the settings: the only place where rooms and adapters meet.

Nothing is opened until `App.open`, and SDKs load when first used: a cold start pays for neither.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg

from visiona.accounts import jobs as account_jobs
from visiona.accounts.model import AccountSettings, derived_signing_key
from visiona.accounts.service import AccountService, Identities
from visiona.adapters.anthropic import AnthropicPromptWriter
from visiona.adapters.clerk import ClerkConfig, ClerkIdentity
from visiona.adapters.clerk import InvalidSignature as InvalidClerkSignature
from visiona.adapters.clerk import UnreadableWebhook as UnreadableClerkWebhook
from visiona.adapters.clerk import read_event as read_clerk_event
from visiona.adapters.clerk import verify_webhook as verify_clerk_webhook
from visiona.adapters.enhancer import FallbackEnhancer
from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.master_keys import open_master_key
from visiona.adapters.objects import open_store
from visiona.adapters.openai import OpenAIModerator, OpenAIPromptWriter
from visiona.adapters.provenance import SigningKit, UnusableCertificate, development_kit, signing_kit
from visiona.adapters.replicate import (
    InvalidSignature,
    ReplicateClient,
    ReplicateConfig,
    ReplicateGenerator,
    ReplicateTrainer,
    UnreadableWebhook,
    read_webhook,
    verify_webhook,
)
from visiona.adapters.sentry import report_failures
from visiona.adapters.smtp import SmtpConfig, SmtpMailer
from visiona.adapters.stripe import (
    EVENTS,
    PINNED_VERSION,
    StripeConfig,
    StripePayments,
    is_live,
    read_event,
)
from visiona.adapters.stripe import InvalidSignature as InvalidStripeSignature
from visiona.adapters.stripe import UnreadableWebhook as UnreadableStripeWebhook
from visiona.adapters.stripe import verify_webhook as verify_stripe_webhook
from visiona.addresses import jobs as address_jobs
from visiona.addresses.model import AddressSettings
from visiona.addresses.service import AddressService
from visiona.administration import jobs as administration_jobs
from visiona.administration.service import AdministrationService
from visiona.audit import jobs as audit_jobs
from visiona.audit.model import AnchorKey
from visiona.audit.service import AuditService, read_anchors
from visiona.audit.service import verify as verify_audit
from visiona.billing import jobs as billing_jobs
from visiona.billing.model import Catalogue, PlanFileError, read_catalogue
from visiona.billing.service import BillingService, missing_plans, publish_plans
from visiona.clones import jobs as clone_jobs
from visiona.clones.service import CloneService
from visiona.consents import jobs as consent_jobs
from visiona.consents.service import ConsentService
from visiona.core.clock import Clock, SystemClock
from visiona.core.errors import Invalid, Unauthenticated, Unavailable
from visiona.core.origin import Origin, coming_from
from visiona.core.scratch import clear_abandoned
from visiona.db.actor import Anonymous, SystemActor
from visiona.db.events import EventHub
from visiona.db.identity import IdentityKey
from visiona.db.jobs import Job
from visiona.db.migrate import MigrationError, migrate, pending
from visiona.db.pool import Database, identify
from visiona.db.roles import (
    APP_ROLE,
    OWNER_ROLE,
    WORKER_ROLE,
    RoleSecrets,
    derived_password,
    password_in,
    url_for_role,
)
from visiona.db.sealed import TOTP_SECRET
from visiona.db.sealing import sealing
from visiona.exports import jobs as export_jobs
from visiona.exports.service import ExportService
from visiona.factors import jobs as factor_jobs
from visiona.factors.model import FactorSettings, opened_old
from visiona.factors.service import FactorService, remove_all_passkeys
from visiona.gallery.service import GalleryService
from visiona.generations import jobs as generation_jobs
from visiona.generations.service import GenerationService, Providers
from visiona.inbox import jobs as inbox_jobs
from visiona.inbox.model import Handler, Receipt
from visiona.inbox.service import InboxService
from visiona.keys import jobs as key_jobs
from visiona.keys.service import KeyService, revoke_all
from visiona.mail import jobs as mail_jobs
from visiona.mail.model import MailSettings
from visiona.mail.service import MailService
from visiona.objects import jobs as object_jobs
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.ops import jobs as backup_jobs
from visiona.ops.backups import Backups
from visiona.ops.creation import Source
from visiona.ops.repository import Repository
from visiona.ops.restoring import KeyStores, Place
from visiona.passwords.service import PasswordService
from visiona.payments import jobs as payment_jobs
from visiona.payments.model import Mode
from visiona.payments.service import PaymentService, PaymentSettings
from visiona.payments.service import missing_plans as missing_bought_plans
from visiona.photos.service import PhotoService
from visiona.ports.errors import ProviderError, ProviderUnavailable
from visiona.ports.mailer import Mailer, Message
from visiona.ports.master_key import MasterKey
from visiona.ports.storage import ObjectStore
from visiona.privacy import jobs as privacy_jobs
from visiona.privacy.model import PrivacySettings
from visiona.privacy.service import PrivacyService, Rooms
from visiona.provenance.service import ProvenanceService
from visiona.safety import jobs as safety_jobs
from visiona.safety.model import LimitSettingError, SpendingLimits, read_amount, read_cap, read_rates
from visiona.safety.service import Limits, PromptGuard, ReportService, Safety, Spending
from visiona.settings import (
    LOOPBACK_HOSTS,
    REPLICATE_WEBHOOK_PATH,
    Settings,
    SettingsError,
)
from visiona.vault.model import KeyMissing
from visiona.vault.service import Vault, seal_objects

logger = logging.getLogger(__name__)


# Turns a provider's request (headers, raw body, query) into a receipt, or raises `Unauthenticated`.
WebhookReader = Callable[[Mapping[str, str], bytes, Mapping[str, str]], Awaitable[Receipt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Every service, wired. One per process."""

    settings: Settings
    clock: Clock
    database: Database
    events: EventHub
    accounts: AccountService
    addresses: AddressService
    factors: FactorService
    mail: MailService
    billing: BillingService
    payments: PaymentService
    objects: ObjectService
    photos: PhotoService
    clones: CloneService
    generations: GenerationService
    gallery: GalleryService
    administration: AdministrationService
    audit: AuditService
    keys: KeyService
    consents: ConsentService
    privacy: PrivacyService
    exports: ExportService
    provenance: ProvenanceService
    inbox: InboxService
    safety: Safety
    vault: Vault
    backups: Backups | None
    read_replicate_webhook: WebhookReader
    read_stripe_webhook: WebhookReader
    read_clerk_webhook: WebhookReader
    warmers: Sequence[Callable[[], Awaitable[None]]]
    closers: Sequence[Callable[[], Awaitable[None]]]

    async def open(self) -> None:
        """Raises `KeyMissing` where the key store is not the one that `visiona migrate` prepared."""
        await asyncio.to_thread(clear_abandoned)
        await self.database.open()
        await self.vault.open()

    async def warm_up(self) -> None:
        """Load what is slow to load, so that no job pays for it. For processes that live long."""
        for warm in self.warmers:
            await warm()

    async def close(self) -> None:
        for close in self.closers:
            await close()

    async def readiness(self) -> dict[str, str]:
        """Each thing that a request needs: `ok`, or what to do about it."""
        checks: dict[str, str] = {}
        try:
            async with self.database.transaction(Anonymous()) as connection:
                missing = await pending(connection)
            checks["database"] = "ok"
            checks["migrations"] = f"run `visiona migrate`: {', '.join(missing)}" if missing else "ok"
        except Unavailable as error:
            checks["database"] = error.detail
        try:
            await self.objects.check()
            checks["storage"] = "ok"
        except Exception:  # noqa: BLE001 - whatever it is, the store is not usable
            checks["storage"] = "objects cannot be written and read; check VISIONA_STORAGE_URL and its keys"
        try:
            await self.vault.check()
            checks["keys"] = "ok"
        except (Unavailable, KeyMissing):
            checks["keys"] = "people's keys cannot be had: `visiona vault check` says why"
        return checks

    async def _bury(self) -> None:
        """An old copy of the key store, as in the image of a machine's disk, brings nobody back for long."""
        if people := await self.vault.bury():
            logger.warning("the keys of %d people who were erased had come back", len(people))
            await self.privacy.replay(people)

    def jobs(self) -> list[Job]:
        """What the worker runs."""
        return [
            *account_jobs.jobs(self.accounts),
            *address_jobs.jobs(self.addresses),
            *factor_jobs.jobs(self.factors),
            *mail_jobs.jobs(self.mail),
            *key_jobs.jobs(self.keys),
            *consent_jobs.jobs(
                self.consents, (self.generations.forget, self.clones.forget, self.photos.forget)
            ),
            *privacy_jobs.jobs(self.privacy),
            *export_jobs.jobs(self.exports),
            *billing_jobs.jobs(self.billing),
            *payment_jobs.jobs(self.payments),
            *object_jobs.jobs(self.objects),
            *inbox_jobs.jobs(self.inbox),
            *clone_jobs.jobs(self.clones),
            *generation_jobs.jobs(self.generations),
            *administration_jobs.jobs(self.administration),
            *safety_jobs.jobs(self.safety),
            *audit_jobs.jobs(self.audit),
            Job("vault.bury", self._bury, cron="*/10 * * * * 25"),
            *([] if self.backups is None else backup_jobs.jobs(self.backups)),
        ]


def build(settings: Settings, role: Literal["app", "worker"], clock: Clock | None = None) -> App:
    """Wire everything for a process that connects as the application's or the worker's role."""
    clock = clock or SystemClock()
    secret = settings.secret()
    if role == "app":
        _check_web_server(settings)
    url = app_database_url(settings) if role == "app" else worker_database_url(settings)
    database = Database(
        url,
        identity_key(settings),
        max_size=settings.database_pool_size,
        pooler=settings.database_pooler,
        passwords=_other_passwords(settings, role),
    )
    events = EventHub(url, _other_passwords(settings, role))
    vault = open_vault(settings, clock)
    passwords = PasswordService(database, vault)
    factors = FactorService(database, vault, clock, _factor_settings(settings))
    clerk = _clerk(settings)
    accounts = AccountService(
        database, vault, clock, _account_settings(settings, secret), Identities(passwords, factors, clerk)
    )
    imaging = ChildImageProcessor(_signing_kit(settings))
    objects = ObjectService(
        database, vault, open_store(settings.objects_url), LinkSigner(*_all_derived(settings, "links")), clock
    )
    catalogue = load_catalogue(settings)
    billing = BillingService(database, clock, catalogue)
    stripe = StripePayments(_stripe_config(settings))
    payments = PaymentService(database, clock, stripe, catalogue, _payment_settings(settings))
    replicate = ReplicateClient(_replicate_config(settings))
    writers = _writers(settings)
    webhook_url = settings.webhook_base and settings.webhook_base + REPLICATE_WEBHOOK_PATH
    moderator = _moderator(settings)
    safety = _safety(settings, database, clock, moderator, objects)
    clones = CloneService(
        database, vault, clock, ReplicateTrainer(replicate), objects, billing, safety, webhook_url
    )
    generations = GenerationService(
        database,
        vault,
        clock,
        Providers(ReplicateGenerator(replicate), FallbackEnhancer(writers), imaging, safety),
        objects,
        billing,
        user_ref=lambda user_id: hmac.new(secret, f"user-ref:{user_id}".encode(), "sha256").hexdigest(),
        webhook_url=webhook_url,
    )
    return App(
        settings=settings,
        clock=clock,
        database=database,
        events=events,
        accounts=accounts,
        addresses=AddressService(
            database,
            vault,
            clock,
            passwords,
            AddressSettings(_derived(secret, "throttle"), _all_derived(settings, "mail-links")),
            (remove_all_passkeys, revoke_all),
        ),
        factors=factors,
        mail=MailService(
            database,
            vault,
            clock,
            _mailer(settings),
            MailSettings(origin=settings.origin, link_secret=_derived(secret, "mail-links")),
        ),
        billing=billing,
        payments=payments,
        objects=objects,
        photos=PhotoService(database, objects, imaging),
        clones=clones,
        generations=generations,
        gallery=GalleryService(database, vault, objects),
        administration=AdministrationService(database, vault, clock, billing),
        audit=AuditService(database, open_anchors(settings), *anchor_keys(settings)),
        provenance=ProvenanceService(database, imaging, _derived(secret, "throttle")),
        keys=KeyService(database, vault, clock),
        consents=ConsentService(database, vault, clock, settings.origin),
        privacy=PrivacyService(
            database,
            vault,
            clock,
            Rooms(clones, generations, payments, objects, clerk),
            PrivacySettings(
                grace=timedelta(days=settings.erasure_grace_days),
                invoice_years=settings.invoice_years,
                receipt_key=_derived(secret, "receipts"),
                mail_wait=timedelta(minutes=30) if settings.smtp_url else timedelta(0),
            ),
        ),
        exports=ExportService(database, vault, objects, clock),
        inbox=InboxService(database, _handlers(accounts, clones, generations, payments)),
        safety=safety,
        vault=vault,
        backups=None if settings.database_url is None else open_backups(settings, clock),
        read_replicate_webhook=_replicate_reader(replicate, clock),
        read_stripe_webhook=_stripe_reader(settings, clock),
        read_clerk_webhook=_clerk_reader(settings, clock),
        warmers=[
            billing.refresh,  # the plan file may be another than before
            *(writer.prepare for writer in writers),
            *([] if moderator is None else [moderator.prepare]),
            *([partial(_stock_sandbox, payments)] if settings.payments_simulated else []),
        ],
        closers=[
            events.stop,
            imaging.aclose,
            replicate.aclose,
            stripe.aclose,
            *([] if clerk is None else [clerk.aclose]),
            *(writer.aclose for writer in writers),
            *([] if moderator is None else [moderator.aclose]),
            vault.aclose,
            database.close,
        ],
    )


def watch_failures(settings: Settings) -> None:
    """Have this process's failures told to Sentry, where that is wanted. Raises `SettingsError`."""
    if settings.sentry_dsn is not None:
        try:
            report_failures(
                settings.sentry_dsn, release=f"visiona@{version('visiona')}", environment=settings.environment
            )
        except ValueError as error:
            raise SettingsError(f"VISIONA_SENTRY_DSN cannot be used: {error}.") from None


def open_vault(settings: Settings, clock: Clock) -> Vault:
    """The keys of people. Neither the stores nor the master keys are connected to before their first use."""
    masters = _master_keys(settings)
    mirror = None if settings.keys_mirror is None else open_store(settings.keys_mirror)
    return Vault(open_store(settings.key_store_url), mirror, masters, clock)


def _master_keys(settings: Settings) -> list[MasterKey]:
    try:
        return [open_master_key(text) for text in settings.masters()]
    except ValueError as error:
        raise SettingsError(f"VISIONA_MASTER_KEYS cannot be used: {error}.") from None


def open_anchors(settings: Settings) -> ObjectStore:
    """Where it is written down how the audit log ends. Raises `SettingsError`."""
    try:
        return open_store(settings.anchor_store_url)
    except ValueError as error:
        raise SettingsError(f"VISIONA_ANCHORS_URL cannot be used: {error}.") from None


def open_repository(settings: Settings) -> Repository:
    """Where backups are. Raises `SettingsError` where it is not said, or there is no master key."""
    if settings.backups_url is None:
        raise SettingsError("VISIONA_BACKUP_URL is missing: where backups are kept.")
    try:
        return Repository(open_store(settings.backups_url), _master_keys(settings))
    except ValueError as error:
        raise SettingsError(f"VISIONA_BACKUP_URL cannot be used: {error}.") from None


def open_backups(settings: Settings, clock: Clock) -> Backups | None:
    """Backups of this Visiona, or None where no place is named for them. Needs the URL of the owner."""
    if settings.backups_url is None:
        return None
    if settings.database_url is None:
        raise SettingsError("VISIONA_DATABASE_URL is missing: backups are made as the database's owner.")
    source = Source(settings.database_url, settings.data_dir, open_store(settings.objects_url))
    check = partial(_check_audit, settings)
    return Backups(
        open_repository(settings), source, settings.backup_days, role_secrets(settings), check, clock
    )


async def _check_audit(
    settings: Settings, connection: psycopg.AsyncConnection, moment: datetime
) -> list[str]:
    key, *_ = anchor_keys(settings)
    anchors = await read_anchors(open_anchors(settings), (key.public,))
    report = await verify_audit(connection, anchors, as_of=moment)
    return [f"audit log: {finding.text}" for finding in report.findings]


def restore_place(settings: Settings, data_dir: Path) -> Place:
    """Where a backup is restored to, with its data in this folder."""
    there = replace(settings, data_dir=data_dir)
    mirror = None if settings.keys_mirror is None else open_store(settings.keys_mirror)
    keys = KeyStores(open_store(there.key_store_url), mirror)
    return Place(data_dir, settings.database_url, open_store(there.objects_url), keys)


async def replay(app: App) -> None:
    """After a restore, with the worker's app: erase again whoever's key is destroyed."""
    await app.privacy.replay(await app.vault.destroyed())


async def _withdraw_again(settings: Settings) -> None:
    """Consents that were withdrawn after the backup was made; the worker then deletes what hangs on them."""
    app = build(settings, "app")
    await app.open()
    try:
        with coming_from(Origin(request_id="restore", via="system", via_id="restore")):
            await app.consents.replay(await app.vault.withdrawals())
    finally:
        await app.close()


async def finish_restore(settings: Settings) -> list[str]:
    """Bring a database that was restored to this release, erase again whom it brought back, and withdraw
    again what consents it knows as given.

    Answers what the operator should look at. `settings` are those that it will run with; no provider is
    spoken to, and their keys need not be at hand.
    """
    await prepare_database(settings)
    absent = {"replicate_api_token": settings.replicate_api_token or "unused", "stripe_api_key": "unused"}
    if settings.clerk_secret_key is None:
        absent["identity"] = "builtin"
    settings = replace(settings, **absent)
    await _withdraw_again(settings)
    app = build(settings, "worker")
    await app.open()
    try:
        await replay(app)
        await app.exports.forget_all()
        await app.audit.note_restore()
        return [f"audit log: {finding.text}" for finding in (await app.audit.verify()).findings]
    finally:
        await app.close()


def role_secrets(settings: Settings) -> RoleSecrets:
    return RoleSecrets(
        app=password_in(app_database_url(settings)),
        worker=password_in(worker_database_url(settings)),
        identity=identity_key(settings),
    )


async def prepare_database(settings: Settings) -> list[str]:
    """Roles, migrations and plans, as the database's owner; answers what was applied.

    Raises `SettingsError` when the database cannot be reached or brought to this release.
    """
    if settings.database_url is None:
        raise SettingsError("VISIONA_DATABASE_URL is missing: the URL of the database's owner.")
    catalogue = load_catalogue(settings)
    secrets = role_secrets(settings)
    try:
        applied = migrate(settings.database_url, secrets)
        await _seal(settings, settings.database_url)
        async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
            await connection.execute(f"set local role {OWNER_ROLE}")
            await publish_plans(connection, catalogue)
            await _check_plans(connection, catalogue, secrets.identity)
    except (MigrationError, psycopg.OperationalError) as error:
        raise SettingsError(f"The database could not be brought up to date: {error}") from error
    return applied


async def _seal(settings: Settings, url: str) -> None:
    """Make the vault ready, and seal what is not sealed yet: objects first, then rows.

    Only when a column's constraint is not valid: the last step makes it so, after everything else was done.
    """
    vault = open_vault(settings, SystemClock())
    try:
        await vault.prepare()
        async with sealing(url) as step:
            if not step.unfinished:
                return
            await _make_missing_keys(vault, await step.people())
            await seal_objects(vault, open_store(settings.objects_url))
            await step.seal_rows(vault, {TOTP_SECRET: partial(opened_old, _all_derived(settings, "factors"))})
            await step.finish()
    except Unavailable as error:
        raise SettingsError(
            "The keys of people cannot be had; the log says why. VISIONA_KEYS_URL and VISIONA_MASTER_KEYS "
            "must be those that they were made with."
        ) from error
    finally:
        await vault.aclose()


async def _make_missing_keys(vault: Vault, people: Mapping[int, bool]) -> None:
    """For those who were there before the vault. Whoever has something sealed needs the key they had."""
    known = await vault.people() | await vault.destroyed()
    for user_id in sorted(people.keys() - known):
        if people[user_id]:
            logger.error("the key of user %d is lost: what it sealed cannot be read", user_id)
        else:
            await vault.create(user_id)


async def _check_plans(
    connection: psycopg.AsyncConnection, catalogue: Catalogue, identity: IdentityKey
) -> None:
    """On the owner's transaction, as the worker: nobody may be left with a plan that is not there."""
    await connection.execute(f"set local role {WORKER_ROLE}")
    await identify(connection, SystemActor("migrate"), identity)
    granted = await missing_plans(connection, catalogue)
    bought = await missing_bought_plans(connection, catalogue)
    if missing := sorted({*granted, *bought}):
        raise SettingsError(
            f"People are on plans that the plan file has not any more: {', '.join(missing)}. "
            "Put them back with `offered = false`: they keep what they have, and nobody else can buy it."
        )


def _check_web_server(settings: Settings) -> None:
    """Only the web server hears of payments, and of what happens to people at Clerk; `visiona billing sync`
    has to run before there is a secret.
    """
    if settings.production and settings.billing and not settings.stripe_webhook_secret:
        raise SettingsError(
            "VISIONA_STRIPE_WEBHOOK_SECRET is missing: without it every event of Stripe is turned away. "
            "`visiona billing sync` prints it when it makes the endpoint."
        )
    if settings.production and settings.hosted_identity and not settings.clerk_webhook_secret:
        raise SettingsError(
            "VISIONA_CLERK_WEBHOOK_SECRET is missing: without it nobody who is deleted or banned at Clerk is "
            "heard of. Clerk shows it where the endpoint is made: Configure, Webhooks."
        )


def _signing_kit(settings: Settings) -> Callable[[], SigningKit]:
    """What images are signed with. The development certificate is made when it is first needed.

    Raises `SettingsError` for a certificate that cannot be used.
    """
    trusted, timestamp_url = settings.c2pa_trusted or "", settings.c2pa_timestamp_url
    if settings.c2pa_certificate is None or settings.c2pa_private_key is None:
        if settings.production:
            raise SettingsError(
                "VISIONA_C2PA_CERTIFICATE and VISIONA_C2PA_PRIVATE_KEY are missing: images are signed once "
                "and stay so; production signs with no development certificate. Get one from a "
                "certificate authority, or make your own: visiona provenance certificate --name 'Your studio'"
            )
        return partial(development_kit, settings.data_dir, trusted=trusted, timestamp_url=timestamp_url)
    try:
        kit = signing_kit(
            settings.c2pa_certificate, settings.c2pa_private_key, trusted=trusted, timestamp_url=timestamp_url
        )
    except UnusableCertificate as error:
        raise SettingsError(f"VISIONA_C2PA_CERTIFICATE cannot be used: {error}.") from error
    return lambda: kit


def load_catalogue(settings: Settings) -> Catalogue:
    """The plans to sell. With billing off everybody has the default plan, the largest unless named.

    Raises `SettingsError`.
    """
    try:
        text = None if settings.plans_file is None else settings.plans_file.read_text(encoding="utf-8")
        catalogue = read_catalogue(text, settings.default_plan)
        return catalogue if settings.billing else catalogue.not_for_sale(settings.default_plan)
    except (OSError, UnicodeDecodeError, PlanFileError) as error:
        raise SettingsError(f"The plans cannot be used: {error}") from error


def app_database_url(settings: Settings) -> str:
    return settings.app_database_url or _role_url(settings, APP_ROLE)


def worker_database_url(settings: Settings) -> str:
    return settings.worker_database_url or _role_url(settings, WORKER_ROLE)


def identity_key(settings: Settings) -> IdentityKey:
    """What the processes of this Visiona prove to its database who they ask for."""
    return IdentityKey(_derived(settings.secret(), "identity"))


def _role_url(settings: Settings, role: str) -> str:
    if settings.database_url is None:
        raise SettingsError(
            "VISIONA_DATABASE_URL is missing. `visiona up` brings a database of its own; "
            "everything else needs the URL of one."
        )
    return url_for_role(settings.database_url, role, derived_password(settings.secret(), role))


def _other_passwords(settings: Settings, role: Literal["app", "worker"]) -> tuple[str, ...]:
    """Of a role whose password is derived: what it is, or will be, by the other secret keys."""
    given, name = (
        (settings.app_database_url, APP_ROLE)
        if role == "app"
        else (settings.worker_database_url, WORKER_ROLE)
    )
    return () if given else tuple(derived_password(secret, name) for secret in settings.secrets()[1:])


def _derived(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that none can be used for another."""
    return hmac.new(secret, f"visiona:{purpose}".encode(), hashlib.sha256).digest()


def _all_derived(settings: Settings, purpose: str) -> tuple[bytes, ...]:
    """First the key that makes, then those that are believed besides."""
    return tuple(_derived(secret, purpose) for secret in settings.secrets())


def anchor_keys(settings: Settings) -> tuple[AnchorKey, ...]:
    """First the one that signs."""
    return tuple(map(AnchorKey, _all_derived(settings, "audit-anchors")))


def _account_settings(settings: Settings, secret: bytes) -> AccountSettings:
    return AccountSettings(
        signing_keys=tuple(map(derived_signing_key, _all_derived(settings, "tokens"))),
        issuer=settings.origin,
        throttle_secret=_derived(secret, "throttle"),
    )


def _factor_settings(settings: Settings) -> FactorSettings:
    """Passkeys are for a domain. On this machine alone it is `localhost`, since an address is none."""
    parts = urlsplit(settings.origin)
    domain, origins = parts.hostname or "", [settings.origin]
    if domain in LOOPBACK_HOSTS:
        domain = "localhost"
        origins.append(urlunsplit(parts._replace(netloc=f"localhost:{parts.port}" if parts.port else domain)))
    return FactorSettings(
        code_keys=_all_derived(settings, "factor-codes"),
        rp_id=domain,
        rp_name="Visiona",
        origins=tuple(dict.fromkeys(origins)),
    )


def _moderator(settings: Settings) -> OpenAIModerator | None:
    if settings.moderation == "off" or settings.openai_api_key is None:
        return None
    return OpenAIModerator(settings.openai_api_key, settings.openai_base_url)


def _safety(
    settings: Settings,
    database: Database,
    clock: Clock,
    moderator: OpenAIModerator | None,
    objects: ObjectService,
) -> Safety:
    try:
        rates = read_rates(settings.limits)
        spending = SpendingLimits(
            total_cap=read_cap("VISIONA_DAILY_COST_CAP", settings.daily_cost_cap),
            person_cap=read_cap("VISIONA_DAILY_COST_CAP_PER_PERSON", settings.daily_cost_cap_per_person),
            training=read_amount("VISIONA_COST_TRAINING", settings.cost_training),
            image=read_amount("VISIONA_COST_IMAGE", settings.cost_image),
            enhancement=read_amount("VISIONA_COST_ENHANCEMENT", settings.cost_enhancement),
        )
    except LimitSettingError as error:
        raise SettingsError(f"VISIONA_LIMITS or a cost cannot be used: {error}.") from None
    return Safety(
        Limits(database, rates, _derived(settings.secret(), "limits")),
        PromptGuard(database, moderator),
        Spending(database, clock, spending),
        ReportService(database, objects),
    )


def _clerk(settings: Settings) -> ClerkIdentity | None:
    if not settings.hosted_identity:
        return None
    if settings.clerk_secret_key is None:
        raise SettingsError(
            "VISIONA_CLERK_SECRET_KEY is missing. `visiona up` brings a sandbox instead; everything else "
            "needs the keys from https://dashboard.clerk.com, or VISIONA_IDENTITY=builtin."
        )
    try:
        config = ClerkConfig(
            secret_key=settings.clerk_secret_key,
            publishable_key=settings.clerk_publishable_key,
            authorized_parties=settings.clerk_authorized_parties or (settings.origin,),
            base_url=settings.clerk_base_url,
            frontend_url=settings.clerk_frontend_url,
            accounts_url=settings.clerk_accounts_url,
            jwt_key=settings.clerk_jwt_key,
        )
    except ValueError as error:
        raise SettingsError(f"Clerk cannot be used: {error} (VISIONA_CLERK_...).") from None
    return ClerkIdentity(config)


class _NoMailServer:
    """Mails wait for a day, so that a server that is configured meanwhile still sends them."""

    async def send(self, message: Message) -> None:
        raise ProviderUnavailable("mail", f"no mail server is configured for {message.id}")


def _mailer(settings: Settings) -> Mailer:
    if settings.smtp_url is None:
        return _NoMailServer()
    try:
        return SmtpMailer(SmtpConfig.parse(settings.smtp_url, settings.mail_from))
    except ValueError as error:
        raise SettingsError(f"VISIONA_SMTP_URL or VISIONA_MAIL_FROM cannot be used: {error}.") from None


def _replicate_config(settings: Settings) -> ReplicateConfig:
    if settings.replicate_api_token is None:
        raise SettingsError(
            "VISIONA_REPLICATE_API_TOKEN is missing. `visiona up` brings a sandbox instead; "
            "everything else needs a token from https://replicate.com/account/api-tokens."
        )
    return ReplicateConfig(
        token=settings.replicate_api_token,
        base_url=settings.replicate_base_url,
        owner=settings.replicate_owner,
        webhook_secrets=settings.replicate_webhook_secret,
        trainer_version=settings.replicate_trainer_version,
        delivery_hosts=settings.replicate_delivery_hosts,
    )


def _stripe_config(settings: Settings) -> StripeConfig:
    if settings.billing and settings.stripe_api_key is None:
        raise SettingsError(
            "VISIONA_STRIPE_API_KEY is missing. `visiona up` brings a sandbox instead; everything else needs "
            "a key from https://dashboard.stripe.com/apikeys, or VISIONA_BILLING=off to sell nothing."
        )
    try:
        return StripeConfig(api_key=settings.stripe_api_key or "", base_url=settings.stripe_base_url)
    except ValueError as error:
        raise SettingsError(
            f"VISIONA_STRIPE_API_KEY or VISIONA_STRIPE_BASE_URL cannot be used: {error}."
        ) from None


def _payment_settings(settings: Settings) -> PaymentSettings:
    mode: Mode = "live" if is_live(settings.stripe_api_key or "") else "test"
    if settings.payments_simulated:
        mode = "sandbox"
    return PaymentSettings(settings.origin, enabled=settings.billing, mode=mode)


async def _stock_sandbox(payments: PaymentService) -> None:
    """The sandbox begins without prices. In production `visiona billing sync` brings them."""
    for delay_s in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        await asyncio.sleep(delay_s)
        with contextlib.suppress(ProviderError):
            await payments.publish(None, change=True)
            return
    logger.warning("the payment sandbox does not answer: nothing can be bought")


def _writers(settings: Settings) -> list[OpenAIPromptWriter | AnthropicPromptWriter]:
    """The configured language models, in the order in which they are asked."""
    writers: list[OpenAIPromptWriter | AnthropicPromptWriter] = []
    for name in settings.enhancers:
        if name == "openai" and settings.openai_api_key:
            writers.append(
                OpenAIPromptWriter(
                    settings.openai_api_key, model=settings.openai_model, base_url=settings.openai_base_url
                )
            )
        elif name == "anthropic" and settings.anthropic_api_key:
            writers.append(
                AnthropicPromptWriter(
                    settings.anthropic_api_key,
                    model=settings.anthropic_model,
                    base_url=settings.anthropic_base_url,
                )
            )
    return writers


def _handlers(
    accounts: AccountService,
    clones: CloneService,
    generations: GenerationService,
    payments: PaymentService,
) -> dict[tuple[str, str], Handler]:
    async def person(reference: Mapping[str, Any]) -> None:
        await accounts.observe_user(reference["subject"])

    async def session(reference: Mapping[str, Any]) -> None:
        await accounts.observe_session(reference["session_id"])

    async def training(reference: Mapping[str, Any]) -> None:
        await clones.observe(reference["user"], reference["id"], reference["remote_id"])

    async def prediction(reference: Mapping[str, Any]) -> None:
        await generations.observe(reference["user"], reference["id"], reference["remote_id"])

    return {
        ("replicate", "training"): training,
        ("replicate", "prediction"): prediction,
        ("stripe", "account"): payments.observe,
        ("clerk", "user"): person,
        ("clerk", "session"): session,
    }


def _replicate_reader(client: ReplicateClient, clock: Clock) -> WebhookReader:
    async def verified_id(headers: Mapping[str, str], body: bytes) -> str:
        try:
            return verify_webhook(await client.webhook_secrets(), headers, body, clock.now())
        except InvalidSignature:  # perhaps the secret was rotated
            secrets = await client.webhook_secrets(refresh=True)
            return verify_webhook(secrets, headers, body, clock.now())

    async def read(headers: Mapping[str, str], body: bytes, query: Mapping[str, str]) -> Receipt:
        try:
            webhook_id = await verified_id(headers, body)
            notice = read_webhook(body)
            reference = {
                "user": int(query["user"]),
                "id": int(query["id"]),
                "remote_id": notice.remote_id,
            }
        except InvalidSignature as error:
            raise Unauthenticated("invalid_signature", "The signature does not match.") from error
        except (UnreadableWebhook, KeyError, ValueError) as error:
            raise Invalid("unreadable_webhook", "This is not a webhook that Visiona asked for.") from error
        return Receipt("replicate", webhook_id, query.get("topic", ""), reference)

    return read


def _stripe_reader(settings: Settings, clock: Clock) -> WebhookReader:
    """What an event is about decides nothing: whatever it says, the customer's account is read again."""
    live = is_live(settings.stripe_api_key or "")

    async def read(headers: Mapping[str, str], body: bytes, _: Mapping[str, str]) -> Receipt:
        header = headers.get("stripe-signature", "")
        try:
            verify_stripe_webhook(settings.stripe_webhook_secret, header, body, clock.now())
            event = read_event(body)
        except InvalidStripeSignature as error:
            raise Unauthenticated("invalid_signature", "The signature does not match.") from error
        except UnreadableStripeWebhook as error:
            raise Invalid("unreadable_webhook", "This is not an event that Visiona asked for.") from error
        if event.livemode != live:
            raise Invalid("wrong_mode", "This event is of the other mode: live and test do not mix.")
        if event.api_version != PINNED_VERSION:
            logger.warning(
                "an event came as %s; make the endpoint anew: visiona billing sync", event.api_version
            )
        topic = "account" if event.type in EVENTS else event.type
        reference = {"customer": event.customer_id, "charge": event.charge_id, "reference": event.reference}
        return Receipt("stripe", event.id, topic, reference)

    return read


def _clerk_reader(settings: Settings, clock: Clock) -> WebhookReader:
    """What an event says decides nothing: whom it is about is read again at Clerk."""

    async def read(headers: Mapping[str, str], body: bytes, _: Mapping[str, str]) -> Receipt:
        try:
            message_id = verify_clerk_webhook(settings.clerk_webhook_secret, headers, body, clock.now())
            event = read_clerk_event(body)
        except InvalidClerkSignature as error:
            raise Unauthenticated("invalid_signature", "The signature does not match.") from error
        except UnreadableClerkWebhook as error:
            raise Invalid("unreadable_webhook", "This is not an event that Visiona asked for.") from error
        reference = {"subject": event.subject, "session_id": event.session_id}
        return Receipt("clerk", message_id, event.topic, reference)

    return read
