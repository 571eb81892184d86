"""What is known of a person, how one is looked for, and the reasons for what is done. Pure.

Nothing here has room for somebody's words or pictures but `Content`, which is read only while they
allow it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Literal

from visiona.accounts.model import ERASED, shown_address
from visiona.billing.model import (
    Account,
    Catalogue,
    LedgerEntry,
    Period,
    Plan,
    Resource,
    Use,
    calendar_period,
    most_generous,
)
from visiona.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from visiona.db.sealed import API_KEY_NAME
from visiona.passwords.model import normalized_email
from visiona.vault.model import Cipher

PAGE_MAX: Final = 100
SUPPORT_HOURS_MAX: Final = 72

PeopleList = Literal["newest", "suspended", "failing", "admins"]
LISTS: Final[tuple[PeopleList, ...]] = ("newest", "suspended", "failing", "admins")

_SUBJECT: Final = re.compile(r"user_[0-9A-Za-z]{1,200}")


class Reason(StrEnum):
    """Why something was done to an account. Codes and not sentences, because the log outlives the account."""

    ASKED = "asked"
    SECURITY = "security"
    LIKENESS = "likeness"
    TERMS = "terms"
    PAYMENT = "payment"
    GOODWILL = "goodwill"
    MISTAKE = "mistake"
    OTHER = "other"


SUSPENSIONS: Final = (Reason.LIKENESS, Reason.TERMS, Reason.PAYMENT, Reason.SECURITY, Reason.ASKED)
RETURNS: Final = (Reason.MISTAKE, Reason.ASKED, Reason.OTHER)
ENDINGS: Final = (Reason.SECURITY, Reason.ASKED, Reason.OTHER)
ERASURES: Final = (Reason.ASKED, Reason.LIKENESS, Reason.TERMS, Reason.OTHER)
GIFTS: Final = (Reason.GOODWILL, Reason.MISTAKE, Reason.ASKED, Reason.OTHER)


@dataclass(frozen=True, slots=True)
class Search:
    """Whom to list: those of `list`, or the one of this address, id or subject.

    `before` is the id of the last one of the page before.
    """

    limit: int
    list: PeopleList | None = None
    address: str | None = field(default=None, repr=False)
    user_id: int | None = None
    subject: str | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class PersonLine:
    """A person as in a list. `barred` says that the identity service does not let them in."""

    id: int
    email: str = field(repr=False)
    verified: bool
    status: str
    barred: bool
    role: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SealedLine:
    """As it is stored."""

    id: int
    email: bytes | None = field(repr=False)
    verified: bool
    status: str
    barred: bool
    role: str
    created_at: datetime

    def opened(self, cipher: Cipher | None) -> PersonLine:
        """`cipher` is None where it is destroyed. Raises `Unreadable`."""
        email = shown_address(self.id, self.email, cipher)
        return PersonLine(self.id, email, self.verified, self.status, self.barred, self.role, self.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRow:
    resource: Resource
    period_start: datetime
    period_end: datetime
    plan: str | None
    subscription_id: str | None
    entitled: int
    used: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """The person at the payment service; `mode` says where: sandbox, test or live."""

    customer_id: str | None
    mode: str
    synced_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRow:
    id: str
    status: str
    plan: str | None
    billing_interval: str | None
    amount: Decimal
    currency: str
    period_end: datetime
    trial_end: datetime | None
    cancel_at: datetime | None
    ended_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRow:
    id: str
    number: str | None
    status: str
    total: Decimal
    amount_remaining: Decimal
    currency: str
    next_attempt_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneRow:
    """`state` is that of its training."""

    id: int
    status: str
    state: str | None
    photo_count: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    id: int
    model_id: int | None
    state: str
    num_outputs: int
    error_code: str | None
    enhancement_outcome: str
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsRow:
    open: int
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job that was given up."""

    id: int
    task: str
    attempts: int
    failed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    id: int
    resource: Resource
    period_start: datetime
    entry: str
    reference: str
    plan: str | None
    amount: int
    created_at: datetime

    def entry_of_ledger(self) -> LedgerEntry:
        return LedgerEntry(
            self.id,
            self.resource,
            self.period_start,
            self.entry,
            self.reference,
            self.plan,
            self.amount,
            self.created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """Everything that an administrator is shown of a person. `given_plan` is an operator's gift;
    `supported_until` is set while they let their words and pictures be seen.
    """

    id: int
    subject: str
    email: str = field(repr=False)
    verified_at: datetime | None
    status: str
    barred: bool
    role: str
    created_at: datetime
    supported_until: datetime | None
    given_plan: str | None
    quotas: tuple[QuotaRow, ...]
    ledger: tuple[LedgerRow, ...]
    customer: CustomerRow | None
    subscriptions: tuple[SubscriptionRow, ...]
    invoices: tuple[InvoiceRow, ...]
    clones: tuple[CloneRow, ...]
    runs: tuple[RunRow, ...]
    sessions: SessionsRow
    keys: tuple[KeyRow, ...]
    jobs: tuple[JobRow, ...]


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What somebody may use now, and where it comes from."""

    plan: Plan
    source: Literal["subscription", "gift", "base"]
    images: Use
    clones: Use
    period: Period


@dataclass(frozen=True, slots=True)
class ContentImage:
    image_key: str = field(repr=False)
    thumbnail_key: str = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Content:
    """What somebody wrote, and the pictures that came of it."""

    id: int
    state: str
    error_code: str | None
    prompt: str = field(repr=False)
    enhanced_prompt: str | None = field(repr=False)
    created_at: datetime
    images: tuple[ContentImage, ...]


def opened_record(stored: Mapping[str, Any], cipher: Cipher | None) -> dict[str, Any]:
    """A record as it is stored, what is sealed in hexadecimal digits, with that opened. `cipher` is None
    where it is destroyed. Raises `Unreadable`.
    """

    def text(place: str, digits: str | None) -> str | None:
        if digits is None or cipher is None:
            return None
        # PostgreSQL's own way of writing bytes as JSON begins with a mark.
        return cipher.open(place, bytes.fromhex(digits.removeprefix("\\x")))

    email = None if stored["email"] is None else bytes.fromhex(stored["email"])
    return {
        **stored,
        "email": shown_address(stored["id"], email, cipher),
        "keys": [{**key, "name": text(API_KEY_NAME.place, key["name"]) or ERASED} for key in stored["keys"]],
        "clones": [
            {**clone, "error_message": text("models.error_message", clone["error_message"])}
            for clone in stored["clones"]
        ],
    }


def read_search(text: str, limit: int, before: int | None = None) -> Search:
    """What was typed into the search: a number is an id, `user_…` a subject, all else an address, which has
    to be whole: it is found by its hash. Nothing lists the newest.
    """
    wanted = text.strip()
    if not wanted:
        return Search(limit, list="newest", before=before)
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        return Search(limit, user_id=int(wanted), before=before)
    if _SUBJECT.fullmatch(wanted):
        return Search(limit, subject=wanted, before=before)
    return Search(limit, address=normalized_email(wanted) or "", before=before)


def chosen_reason(text: str, among: Sequence[Reason]) -> Reason:
    """Raises `Invalid` for what is none of them."""
    found = next((reason for reason in among if reason.value == text), None)
    if found is None:
        problem = FieldError("reason", "unknown_reason", "Choose a reason.")
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=[problem])
    return found


def support_hours(hours: int) -> int:
    """Raises `Invalid` for less than an hour and more than three days."""
    if not 1 <= hours <= SUPPORT_HOURS_MAX:
        problem = FieldError("hours", "out_of_range", f"From 1 to {SUPPORT_HOURS_MAX} hours.")
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=[problem])
    return hours


def entitlement(record: PersonRecord, catalogue: Catalogue, now: datetime) -> Entitlement:
    """As the person sees it on their own pages."""
    base = record.given_plan or catalogue.base
    month = calendar_period(now)
    counting: dict[Resource, Account] = {}
    for resource in Resource:
        on_record = [_account(row, base) for row in record.quotas if row.resource is resource]
        entitling = [one for one in on_record if one.subscription_id is None or one.entitled]
        if not any(one.period.start == month.start for one in on_record):
            limit = catalogue.find(base).limit(resource)
            entitling.append(Account(month, base, None, limit, 0, on_record=False))
        counting[resource] = most_generous(entitling or on_record)
    images, clones = counting[Resource.IMAGES], counting[Resource.CLONES]
    given: Literal["gift", "base"] = "base" if record.given_plan is None else "gift"
    return Entitlement(
        plan=catalogue.find(images.plan),
        source=given if images.subscription_id is None else "subscription",
        images=Use(images.used, images.granted),
        clones=Use(clones.used, clones.granted),
        period=images.period,
    )


def _account(row: QuotaRow, base: str) -> Account:
    return Account(
        Period(row.period_start, row.period_end),
        row.plan or base,
        row.subscription_id,
        row.entitled,
        row.used + row.reserved,
    )


def person_not_found() -> NotFound:
    return NotFound("person_not_found", "There is no such person.")


def content_closed() -> Forbidden:
    return Forbidden(
        "support_not_allowed", "This person does not let their prompts and pictures be seen now."
    )


def check_outcome(outcome: str) -> None:
    """Raises what stood in the way of an act, by the database's word for it."""
    match outcome:
        case "unknown":
            raise person_not_found()
        case "oneself":
            raise Conflict("not_oneself", "Administrators do not do this to their own account.")
        case "administrator":
            raise Conflict(
                "is_administrator", "This is an administrator's account: demote them first, at the console."
            )
        case "unchanged":
            raise Conflict("nothing_to_do", "It is so already.")
        case _:
            return
