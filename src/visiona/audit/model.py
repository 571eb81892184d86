"""The actions that are recorded. Names are for ever: exports and reports refer to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    ACCOUNT_CREATED = "account.created"
    SIGNED_IN = "account.signed_in"
    SIGNED_OUT = "account.signed_out"
    ACCOUNT_DELETED = "account.deleted"
    ADDRESS_CONFIRMED = "account.address_confirmed"
    PASSWORD_RESET_ASKED = "account.password_reset_asked"  # noqa: S105 - the name of an action
    PASSWORD_CHANGED = "account.password_changed"  # noqa: S105 - the name of an action
    PHOTO_ADDED = "photo.added"
    PHOTO_DELETED = "photo.deleted"
    CLONE_TRAINING_STARTED = "clone.training_started"
    CLONE_READY = "clone.ready"
    CLONE_FAILED = "clone.failed"
    CLONE_CANCELED = "clone.canceled"
    CLONE_DELETED = "clone.deleted"
    GENERATION_STARTED = "generation.started"
    GENERATION_FINISHED = "generation.finished"
    GENERATION_CANCELED = "generation.canceled"
    IMAGE_DELETED = "image.deleted"
    PLAN_CHANGED = "plan.changed"
    CHECKOUT_STARTED = "checkout.started"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    PAYMENT_RECORDED = "payment.recorded"
    TOTP_ENABLED = "factor.totp_enabled"
    TOTP_DISABLED = "factor.totp_disabled"
    CODE_REFUSED = "factor.code_refused"
    RECOVERY_CODE_USED = "factor.recovery_code_used"
    RECOVERY_CODES_RENEWED = "factor.recovery_codes_renewed"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_REMOVED = "passkey.removed"
    PASSKEY_REFUSED = "passkey.refused"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    SUPPORT_ALLOWED = "support.allowed"
    SUPPORT_ENDED = "support.ended"
    # What administrators do. Those that the database writes itself are named there too (migration 0012).
    ADMIN_PROMOTED = "admin.promoted"
    ADMIN_DEMOTED = "admin.demoted"
    ADMIN_VIEWED = "admin.viewed"
    ADMIN_CONTENT_VIEWED = "admin.content_viewed"
    ADMIN_PLAN_SET = "admin.plan_set"
    ADMIN_SUSPENDED = "admin.suspended"
    ADMIN_UNSUSPENDED = "admin.unsuspended"
    ADMIN_SESSIONS_ENDED = "admin.sessions_ended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of somebody's log. `action` may be one of a later release."""

    id: int
    action: str
    details: Mapping[str, Any] | None
    created_at: datetime
