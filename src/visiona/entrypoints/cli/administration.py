"""What operators do to a running Visiona from the command line, as the worker's role."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from visiona.accounts.model import User
from visiona.audit.model import Report, TrustedKey
from visiona.billing.model import LedgerEntry, Quota
from visiona.bootstrap import App, build, prepare_database
from visiona.core.errors import VisionaError
from visiona.db.actor import UserActor
from visiona.db.jobs import RetryLater
from visiona.entrypoints.cli.errors import CommandFailed
from visiona.entrypoints.cli.supervisor import provided
from visiona.payments.model import Invoice, Overview
from visiona.ports.errors import ProviderError
from visiona.ports.payments import PublishedThing
from visiona.privacy.model import Erasure
from visiona.settings import STRIPE_WEBHOOK_PATH, Settings, SettingsError, read_settings
from visiona.vault.model import KeyDestroyed, KeyMissing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of the doctor; `message` says how to mend it when it is not ok."""

    name: str
    ok: bool
    message: str


def migrate_database() -> list[str]:
    with operator_settings() as settings:
        return asyncio.run(prepare_database(settings))


def list_users() -> list[tuple[User, str]]:
    """Everybody with their plan."""

    async def read(app: App) -> list[tuple[User, str]]:
        plans = await app.billing.plans_by_user()
        base = app.billing.catalogue.base
        return [(user, plans.get(user.id, base)) for user in await app.accounts.everybody()]

    return _with_app(read)


def find_user(email: str) -> tuple[User, str]:
    """Who has this address, and their plan."""

    async def read(app: App) -> tuple[User, str]:
        user = await app.accounts.find_by_email(email)
        return user, (await app.billing.plans_by_user()).get(user.id, app.billing.catalogue.base)

    return _with_app(read)


def set_plan(email: str, plan: str) -> None:
    async def change(app: App) -> None:
        user = await app.accounts.find_by_email(email)
        await app.billing.set_plan(user.id, plan)

    _with_app(change)


def set_administrator(email: str, *, administrator: bool) -> User:
    async def change(app: App) -> User:
        user = await app.accounts.find_by_email(email)
        if administrator:
            await app.administration.promote(user.id)
        else:
            await app.administration.demote(user.id)
        return user

    return _with_app(change)


@dataclass(frozen=True, slots=True)
class BillingRecord:
    """What support needs to answer a question about somebody's plan."""

    overview: Overview
    quota: Quota
    invoices: list[Invoice]
    ledger: list[LedgerEntry]


def publish_offers(*, change: bool) -> list[PublishedThing]:
    """Bring the plans to the payment service, or with `change` false only compare."""

    async def publish(app: App) -> list[PublishedThing]:
        reachable = app.settings.origin.startswith("https://") or app.settings.payments_simulated
        webhook_url = app.settings.origin + STRIPE_WEBHOOK_PATH if reachable else None
        return await app.payments.publish(webhook_url, change=change)

    return _with_app(publish, pays=True)


def billing_record(email: str) -> BillingRecord:
    async def read(app: App) -> BillingRecord:
        actor = UserActor((await app.accounts.find_by_email(email)).id)
        return BillingRecord(
            overview=await app.payments.overview(actor),
            quota=await app.billing.quota(actor),
            invoices=await app.payments.invoices(actor, 20),
            ledger=await app.billing.ledger(actor, 40),
        )

    return _with_app(read)


def look_at_payments(email: str) -> None:
    """Read somebody's account at the payment service now."""

    async def read(app: App) -> None:
        await app.payments.sync((await app.accounts.find_by_email(email)).id)

    _with_app(read, pays=True)


def verify_audit_log(anchors_url: str | None, keys: Sequence[str]) -> Report:
    """With the anchors at another place, or trusting other keys, than the settings say."""
    try:
        trusted = [TrustedKey.parse(key) for key in keys]
    except ValueError:
        raise CommandFailed("That is no key: `visiona audit key` shows what one looks like.") from None

    async def verify(app: App) -> Report:
        return await app.audit.verify(trusted)

    return _with_app(verify, instead={} if anchors_url is None else {"anchors_url": anchors_url})


def anchor_audit_log() -> None:
    async def anchor(app: App) -> None:
        await app.audit.anchor()

    _with_app(anchor)


def audit_key() -> str:
    """The public key of the anchors."""

    async def read(app: App) -> str:
        return str(app.audit.public_key)

    return _with_app(read)


def list_erasures() -> list[Erasure]:
    """The newest first."""

    async def read(app: App) -> list[Erasure]:
        return await app.privacy.recent()

    return _with_app(read)


def erase_user(email: str) -> UUID:
    """Answers the receipt's code."""

    async def order(app: App) -> UUID:
        return await app.privacy.order_now((await app.accounts.find_by_email(email)).id, "operator")

    return _with_app(order)


def export_user(email: str, target: Path, progress: Callable[[int], None]) -> None:
    """Everything that is kept of the person with this address, as a ZIP at `target`."""

    async def told(percent: int) -> None:
        progress(percent)

    async def write(app: App) -> None:
        user = await app.accounts.find_by_email(email)
        await app.exports.hand_over(UserActor(user.id), target, told)

    _with_app(write)


def confirm_step(code: UUID, step: str) -> None:
    """Raises `CommandFailed` where no erasure is held up by it."""

    async def confirm(app: App) -> bool:
        return await app.privacy.confirm_by_hand(code, step)

    if not _with_app(confirm):
        raise CommandFailed("No erasure with this code waits for that: see `visiona privacy list`.")


def find_receipt(code: UUID) -> bytes:
    """As it was signed. Raises `CommandFailed` where there is none, or not yet, or it was changed."""

    async def find(app: App) -> bytes:
        data = await app.privacy.receipt(code)
        if data is None:
            known = next((one for one in await app.privacy.recent() if one.id == code), None)
            trouble = "" if known is None or known.trouble is None else f" It is held up by {known.trouble}."
            raise CommandFailed(f"That erasure is not over.{trouble}")
        app.privacy.verify_receipt(data)
        return data

    try:
        return _with_app(find)
    except ValueError as error:
        raise CommandFailed(f"It does not count: {error}.") from None


def read_receipt(data: bytes) -> Mapping[str, object]:
    """Raises `CommandFailed` for one that this Visiona did not sign."""

    async def read(app: App) -> Mapping[str, object]:
        return app.privacy.verify_receipt(data)

    try:
        return _with_app(read)
    except ValueError as error:
        raise CommandFailed(f"It does not count: {error}.") from None


def diagnose() -> list[Finding]:
    """Readiness of everything that a request needs, as this machine sees it."""

    async def look(app: App) -> dict[str, str]:
        checks = await app.readiness()
        if app.backups is not None:
            checks["backups"] = await app.backups.trouble() or "ok"
        return checks

    try:
        checks = _with_app(look)
    except CommandFailed as error:
        return [Finding("settings", ok=False, message=error.message)]
    return [Finding(name, ok=result == "ok", message=result) for name, result in checks.items()]


@contextmanager
def operator_settings() -> Generator[Settings]:
    try:
        given = read_settings()
        with provided(given) as settings:
            if settings.database_url != given.database_url:  # our own server, perhaps a new one
                asyncio.run(prepare_database(settings))
            yield settings
    except SettingsError as error:
        raise CommandFailed(str(error)) from error


def _with_app(
    use: Callable[[App], Awaitable[T]], *, pays: bool = False, instead: Mapping[str, str] | None = None
) -> T:
    """`use` with an app of the worker's role; `pays` if it speaks to the payment service. `instead` are
    settings that are others for this command.
    """

    async def run(settings: Settings) -> T:
        app = build(settings, "worker")
        await app.open()
        try:
            return await use(app)
        finally:
            await app.close()

    with operator_settings() as settings:
        unneeded = {} if pays or settings.stripe_api_key else {"stripe_api_key": "unused"}
        if settings.clerk_secret_key is None:  # nor do they ask who somebody is
            unneeded["identity"] = "builtin"
        # These commands do not speak to the image service; a token need not be at hand.
        token = settings.replicate_api_token or "unused"
        try:
            return asyncio.run(
                run(replace(settings, replicate_api_token=token, **unneeded, **(instead or {})))
            )
        except VisionaError as error:
            raise CommandFailed(error.detail) from error
        except (KeyMissing, KeyDestroyed) as error:
            raise CommandFailed("Their key is gone: nothing of theirs can be read any more.") from error
        except RetryLater as error:
            raise CommandFailed(f"It cannot be done now: {error}.") from error
        except ProviderError as error:
            raise CommandFailed(f"The payment service refuses or does not answer: {error}.") from error
