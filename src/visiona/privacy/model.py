"""Erasures and receipts, as they are seen. Pure."""

import json
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from visiona.core.clock import rfc3339
from visiona.core.errors import Conflict, NotFound
from visiona.payments.model import Mode
from visiona.privacy.catalogue import CATALOGUE

ELSEWHERE: Final = ("payments", "identity", "training")
"""Steps that another firm confirms; where it never will, the operator may."""
STEPS: Final = ("work", "mail", "payments", "identity", "training", "rows", "objects", "key")
"""What an erasure does, in this order; each is confirmed before the next."""

_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """`mail_wait` is how long a last mail is waited for before the address is destroyed."""

    grace: timedelta
    invoice_years: int
    receipt_key: bytes = field(repr=False)
    mail_wait: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """`user_id` is there until it is done. `trouble` is what holds it up, where something does."""

    id: uuid.UUID
    user_id: int | None
    cause: str
    state: str
    asked_at: datetime
    due_at: datetime
    started_at: datetime | None
    steps: Mapping[str, Any]
    attempts: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureLine(Erasure):
    """As administrators see it; `number` grows with each that is asked for."""

    number: int
    finished_at: datetime | None
    next_attempt_at: datetime

    @property
    def step(self) -> str | None:
        """The first that is not confirmed; None for one that is over or has not begun."""
        if self.state != "erasing":
            return None
        return next((name for name in STEPS if name not in self.steps), None)


@dataclass(frozen=True, slots=True)
class Remote:
    """What other firms know somebody and their things by; kept until they have confirmed."""

    subject: str | None
    customer: str | None
    mode: Mode | None
    versions: tuple[str, ...]
    archives: tuple[str, ...]
    trainings: tuple[str, ...]
    """Those that made no clone here, and may have made one there."""


def pause_after(attempts: int) -> timedelta:
    """Five seconds, ten, and so on, to an hour."""
    return min(_FIRST_PAUSE * 2 ** min(attempts, 20), _LONGEST_PAUSE)


# Receipts


def receipt(erasure: Erasure, finished_at: datetime, settings: PrivacySettings) -> bytes:
    """What was deleted, signed: nothing in it says whose it was."""
    kept = [{"what": table.name, "why": table.keeps} for table in CATALOGUE if table.keeps]
    kept.append(
        {
            "what": "invoices at the payment service",
            "why": "Commercial and tax law demand it of whoever took the money.",
            "until": str(finished_at.year + settings.invoice_years),
        }
    )
    trained = erasure.steps.get("training", {}).get("count")
    if isinstance(trained, Mapping) and any(cast("Mapping[str, int]", trained).values()):
        kept.append(
            {
                "what": "records of trainings at the training service",
                "why": "It offers no way to delete them: when, with which settings and trigger word. "
                "No photo and no model is left in them.",
            }
        )
    facts = {
        "receipt": str(erasure.id),
        "cause": erasure.cause,
        "asked_at": rfc3339(erasure.asked_at),
        "finished_at": rfc3339(finished_at),
        "steps": erasure.steps,
        "kept": kept,
        "backups": "Every backup holds what it holds sealed with a key that is destroyed.",
    }
    key = _signing_key(settings)
    public = b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    signature = b64encode(key.sign(_signed(facts))).decode()
    return json.dumps({**facts, "key": public, "signature": signature}, indent=2).encode()


def public_key(settings: PrivacySettings) -> str:
    """By which receipts of this Visiona are told from others."""
    return b64encode(
        _signing_key(settings).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    ).decode()


def verify_receipt(data: bytes, key: str) -> Mapping[str, Any]:
    """What it says. Raises `ValueError` for one that was changed, or that another key signed."""
    try:
        facts = json.loads(data)
        signature = b64decode(facts.pop("signature"))
        signed_by = facts.pop("key")
        Ed25519PublicKey.from_public_bytes(b64decode(key)).verify(signature, _signed(facts))
    except (InvalidSignature, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("this is no receipt of this Visiona, or it was changed") from error
    if signed_by != key:
        raise ValueError("this receipt names another key")
    return facts


def _signing_key(settings: PrivacySettings) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(settings.receipt_key)


def _signed(facts: Mapping[str, Any]) -> bytes:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return b"visiona receipt\n" + text.encode()


def step(now: datetime, count: Any, *, by_hand: bool = False) -> dict[str, Any]:
    """A confirmed one, as it is kept and stands in the receipt. `by_hand`: the operator says so."""
    done = {"at": rfc3339(now.astimezone(UTC)), "count": count}
    return {**done, "by_hand": True} if by_hand else done


# Refusals


def leaving() -> Conflict:
    return Conflict(
        "account_closing",
        "This account is being deleted. You can look at everything, or take the deletion back.",
    )


def already_leaving() -> Conflict:
    return Conflict("erasure_open", "The deletion of this account is under way already.")


def not_leaving() -> Conflict:
    return Conflict("erasure_over", "There is no deletion of this account to take back, or it has begun.")


def receipt_not_found() -> NotFound:
    return NotFound("receipt_not_found", "There is no such receipt.")


def cannot_be_erased() -> Conflict:
    return Conflict(
        "erasure_refused", "There is nobody of this id, they are administrators, or it is asked for."
    )
