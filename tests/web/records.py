"""A person as administrators see them, who does not exist, and what their pages need of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.web.plans import CATALOGUE

from visiona.accounts.model import Session
from visiona.administration.model import (
    CloneRow,
    CustomerRow,
    InvoiceRow,
    JobRow,
    KeyRow,
    LedgerRow,
    PersonLine,
    PersonRecord,
    QuotaRow,
    RunRow,
    SessionsRow,
    SubscriptionRow,
    entitlement,
)
from visiona.audit.model import Action, Entry, Where
from visiona.billing.model import Resource, calendar_period
from visiona.entrypoints.api.security import Caller
from visiona.entrypoints.web.admin_pages import acts_on, standing_of
from visiona.entrypoints.web.audit_words import log_lines
from visiona.entrypoints.web.receipt_words import receipt_words
from visiona.privacy.model import STEPS, ErasureLine, PrivacySettings, receipt

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)> KATVIS \"'"
_MONTH = calendar_period(NOW)

BARE = PersonRecord(
    id=12,
    subject="user_2abc",
    email="ana@example.org",
    verified_at=None,
    status="active",
    barred=False,
    role="member",
    created_at=NOW - timedelta(days=40),
    supported_until=None,
    given_plan=None,
    quotas=(),
    ledger=(),
    customer=None,
    subscriptions=(),
    invoices=(),
    clones=(),
    runs=(),
    sessions=SessionsRow(open=0, last_seen_at=None),
    keys=(),
    jobs=(),
)
FULL = replace(
    BARE,
    verified_at=NOW - timedelta(days=39),
    supported_until=NOW + timedelta(hours=3),
    given_plan="premium",
    quotas=(
        QuotaRow(
            resource=Resource.IMAGES,
            period_start=_MONTH.start,
            period_end=_MONTH.end,
            plan="premium",
            subscription_id="sub_1",
            entitled=1000,
            used=23,
            reserved=4,
        ),
    ),
    ledger=(
        LedgerRow(
            id=2,
            resource=Resource.IMAGES,
            period_start=_MONTH.start,
            entry="grant",
            reference="sub_1",
            plan="premium",
            amount=1000,
            created_at=NOW - timedelta(days=2),
        ),
    ),
    customer=CustomerRow(customer_id="cus_1", mode="test", synced_at=NOW),
    subscriptions=(
        SubscriptionRow(
            id="sub_1",
            status="past_due",
            plan="premium",
            billing_interval="month",
            amount=Decimal("39.00"),
            currency="usd",
            period_end=_MONTH.end,
            trial_end=None,
            cancel_at=_MONTH.end,
            ended_at=None,
            created_at=NOW - timedelta(days=20),
        ),
    ),
    invoices=(
        InvoiceRow(
            id="in_1",
            number=HOSTILE,
            status="open",
            total=Decimal("39.00"),
            amount_remaining=Decimal("39.00"),
            currency="usd",
            next_attempt_at=NOW + timedelta(days=1),
            created_at=NOW - timedelta(days=1),
        ),
    ),
    clones=(
        CloneRow(
            id=3,
            status="Failed",
            state="failed",
            photo_count=12,
            error_code="training_rejected",
            error_message=HOSTILE,
            created_at=NOW - timedelta(days=3),
            ended_at=NOW - timedelta(days=3),
        ),
    ),
    runs=(
        RunRow(
            id=71,
            model_id=3,
            state="failed",
            num_outputs=4,
            error_code="generation_failed",
            enhancement_outcome="not_requested",
            created_at=NOW - timedelta(hours=2),
            finished_at=NOW - timedelta(hours=1),
        ),
    ),
    sessions=SessionsRow(open=2, last_seen_at=NOW - timedelta(minutes=4)),
    keys=(
        KeyRow(
            id=4,
            name=HOSTILE,
            scopes=("photos:read", "images:write"),
            created_at=NOW,
            expires_at=NOW + timedelta(days=90),
            last_used_at=NOW - timedelta(hours=5),
            revoked_at=None,
        ),
    ),
    jobs=(JobRow(id=9, task="clones.submit", attempts=5, failed_at=NOW - timedelta(days=3)),),
)
SUSPENDED = replace(BARE, id=13, status="suspended", email=f"bob+{HOSTILE[:5]}@example.org")
COLLEAGUE = replace(BARE, id=14, role="admin")

LINES = log_lines(
    [
        Entry(5, Action.ADMIN_SUSPENDED, {"by": 7, "reason": "likeness"}, NOW),
        Entry(4, Action.ADMIN_CONTENT_VIEWED, {"by": 7}, NOW - timedelta(minutes=3)),
        Entry(3, Action.ADMIN_PLAN_SET, {"by": 7, "plan": HOSTILE, "reason": "a later one"}, NOW),
        Entry(2, f"later.{HOSTILE}", None, NOW - timedelta(hours=3)),
        Entry(1, Action.ACCOUNT_CREATED, None, NOW - timedelta(days=40)),
    ]
)

_SESSION = Session(
    user_id=7,
    subject="user_admin",
    session_id=UUID(int=1),
    confirmed_at=NOW,
    provider_session_id=None,
    role="admin",
    email_verified=True,
)


def caller(*, fresh: bool = True) -> Caller:
    return Caller(user_id=7, subject="user_admin", session=_SESSION, role="admin", fresh=fresh)


def erasure(number: int, state: str, confirmed: int = 0, **changes: Any) -> ErasureLine:
    """Of an account; `confirmed` says how many of its steps are."""
    steps = {name: {"at": "2026-11-23T11:00:00Z", "count": 1} for name in STEPS[:confirmed]}
    fields: dict[str, Any] = {
        "user_id": 13,
        "cause": "person",
        "asked_at": NOW - timedelta(days=number),
        "due_at": NOW + timedelta(days=7 - number),
        "started_at": None,
        "finished_at": None,
        "next_attempt_at": NOW + timedelta(minutes=5),
    }
    return ErasureLine(number=number, id=UUID(int=number), state=state, steps=steps, **{**fields, **changes})


ERASURES = (
    erasure(1, "waiting"),
    erasure(2, "erasing", 2, cause="admin", user_id=20),
    erasure(3, "erasing", 4, user_id=21, attempts=3, trouble=HOSTILE),
)
ENDED = (
    erasure(5, "withdrawn", user_id=22),
    erasure(4, "done", 8, user_id=None, finished_at=NOW, cause="of a later release"),
)

_RECEIPT = receipt(ENDED[1], NOW, PrivacySettings(timedelta(0), 10, b"r" * 32))
RECEIPT = receipt_words(json.loads(_RECEIPT))
ODD_RECEIPT = receipt_words(
    {
        **json.loads(_RECEIPT),
        "cause": HOSTILE,
        "kept": [{"what": HOSTILE, "why": HOSTILE}],
        "steps": {
            HOSTILE: {"at": "2026-11-23T11:00:00Z", "count": 0},
            "rows": {"at": "2026-11-23T11:00:00Z", "count": {"photos": 12, "models": 0, "a_new_one": 3}},
            "training": {"at": "2026-11-23T11:00:00Z", "count": {"versions": 1, "archives": 2}},
        },
    }
)


def person_page(record: PersonRecord, *, fresh: bool = True) -> dict[str, Any]:
    return {
        "person": record,
        "lines": LINES,
        "earlier": 1,
        "paged": True,
        "acts": acts_on(record, caller(fresh=fresh)),
        "erasure": next((one for one in ERASURES if one.user_id == record.id), None),
        "grace_days": 7,
        **standing_of(record, entitlement(record, CATALOGUE, NOW), CATALOGUE, NOW),
    }


def line(record: PersonRecord) -> PersonLine:
    return PersonLine(
        record.id,
        record.email,
        record.verified_at is not None,
        record.status,
        record.barred,
        record.role,
        record.created_at,
    )


ACTS = log_lines(
    [
        Entry(
            2,
            Action.ADMIN_VIEWED,
            {"by": 7},
            NOW,
            user_id=12,
            actor_kind="admin",
            actor_id="7",
            request_id="0123456789abcdef0123456789abcdef",
            where=Where("203.0.113.7", HOSTILE),
        ),
        Entry(1, Action.ADMIN_SESSIONS_ENDED, {"by": 7, "reason": "x", "sessions": 2}, NOW),
    ]
)
CONTENT = [
    {
        "id": 71,
        "state": "succeeded",
        "error_code": None,
        "prompt": HOSTILE,
        "enhanced_prompt": HOSTILE,
        "created_at": NOW,
        "images": [{"image_url": "/media/i", "thumbnail_url": "/media/t", "width": 896, "height": 1088}],
    },
    {
        "id": 70,
        "state": "failed",
        "error_code": "generation_failed",
        "prompt": HOSTILE,
        "enhanced_prompt": None,
        "created_at": NOW,
        "images": [],
    },
]
