"""Entries of a person's log in plain words. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from visiona.administration.model import Reason
from visiona.audit.model import Action, Entry, Where
from visiona.entrypoints.web.browsers import browser_words

REASONS: Final[Mapping[str, str]] = {
    Reason.ASKED: "they asked for it",
    Reason.SECURITY: "security of the account",
    Reason.LIKENESS: "somebody else's face",
    Reason.TERMS: "terms of use",
    Reason.PAYMENT: "payments",
    Reason.GOODWILL: "goodwill",
    Reason.MISTAKE: "a mistake is put right",
    Reason.OTHER: "another reason",
}

_WORDS: Final[Mapping[str, str]] = {
    Action.ACCOUNT_CREATED: "Account made",
    Action.SIGNED_IN: "Logged in",
    Action.SIGNED_OUT: "Logged out",
    Action.ACCOUNT_DELETED: "Account deleted",
    Action.ERASURE_ASKED: "Deletion of the account asked for",
    Action.ERASURE_TAKEN_BACK: "Deletion of the account taken back",
    Action.ADMIN_ERASURE_ORDERED: "Administrator {by} ordered the deletion of the account: {reason}",
    Action.ACCOUNT_ERASED: "Somebody was erased; {entries} entries stay without them",
    Action.EXPORT_ASKED: "Copy of all data asked for",
    Action.EXPORT_READY: "Copy of all data ready",
    Action.EXPORT_FAILED: "Copy of all data failed",
    Action.EXPORT_OPENED: "Copy of all data downloaded",
    Action.EXPORT_HANDED_OVER: "Copy of all data written by the operator",
    Action.EXPORT_REMOVED: "Copy of all data deleted",
    Action.ADDRESS_CONFIRMED: "Address confirmed",
    Action.PASSWORD_RESET_ASKED: "Link for a new password asked for",
    Action.PASSWORD_CHANGED: "Password changed",
    Action.PHOTO_ADDED: "Photo added",
    Action.PHOTO_DELETED: "Photo deleted",
    Action.CLONE_TRAINING_STARTED: "Training of clone {model_id} begun",
    Action.CLONE_READY: "Clone {model_id} ready",
    Action.CLONE_FAILED: "Training of clone {model_id} failed",
    Action.CLONE_CANCELED: "Training of clone {model_id} canceled",
    Action.CLONE_DELETED: "Clone {model_id} deleted",
    Action.GENERATION_STARTED: "Pictures asked for",
    Action.GENERATION_FINISHED: "Pictures finished",
    Action.GENERATION_CANCELED: "Pictures canceled",
    Action.IMAGE_DELETED: "Picture deleted",
    Action.PLAN_CHANGED: "Plan changed to {plan}",
    Action.CHECKOUT_STARTED: "Checkout begun",
    Action.SUBSCRIPTION_CHANGED: "Subscription changed",
    Action.PAYMENT_RECORDED: "Payment recorded",
    Action.TOTP_ENABLED: "Authenticator app set up",
    Action.TOTP_DISABLED: "Authenticator app taken away",
    Action.CODE_REFUSED: "Wrong code refused",
    Action.RECOVERY_CODE_USED: "Recovery code used",
    Action.RECOVERY_CODES_RENEWED: "Recovery codes made anew",
    Action.PASSKEY_ADDED: "Passkey added",
    Action.PASSKEY_REMOVED: "Passkey removed",
    Action.PASSKEY_REFUSED: "Passkey refused",
    Action.KEY_CREATED: "API key made",
    Action.KEY_REVOKED: "API key revoked",
    Action.SUPPORT_ALLOWED: "Administrators allowed to see prompts and pictures for {hours} hours",
    Action.SUPPORT_ENDED: "Permission to see prompts and pictures taken back",
    Action.CONSENT_GIVEN: "Consent given",
    Action.CONSENT_ASKED: "Consent of somebody else asked for",
    Action.CONSENT_REFUSED: "Consent refused",
    Action.CONSENT_WITHDRAWN: "Consent withdrawn",
    Action.ADMIN_PROMOTED: "Made an administrator at the console",
    Action.ADMIN_DEMOTED: "No longer an administrator, by the console",
    Action.ADMIN_VIEWED: "Administrator {by} looked at the account",
    Action.ADMIN_LOG_VIEWED: "Administrator {by} looked at what is on record",
    Action.ADMIN_CONTENT_VIEWED: "Administrator {by} looked at prompts and pictures",
    Action.ADMIN_PLAN_SET: "Administrator {by} set the plan to {plan}: {reason}",
    Action.ADMIN_SUSPENDED: "Administrator {by} suspended the account: {reason}",
    Action.ADMIN_UNSUSPENDED: "Administrator {by} lifted the suspension: {reason}",
    Action.ADMIN_SESSIONS_ENDED: "Administrator {by} ended all sessions ({sessions}): {reason}",
    Action.ADMIN_REPORT_VIEWED: "Administrator {by} looked at picture {image_id}, which was reported",
    Action.ADMIN_REPORT_DISMISSED: "Administrator {by} found nothing wrong with picture {image_id}",
    Action.ADMIN_IMAGE_TAKEN_DOWN: "Administrator {by} removed picture {image_id} after a report",
}


@dataclass(frozen=True, slots=True)
class LogLine:
    """`who` did it, where that is known, and from `where`; `looked` marks what administrators did or saw.
    `user_id` is whose log it is, none once they are gone.
    """

    id: int
    at: datetime
    text: str
    who: str
    where: str
    request_id: str | None
    user_id: int | None
    looked: bool


def log_lines(entries: Sequence[Entry], *, own: bool = False) -> list[LogLine]:
    """`own` are those that their person reads."""
    return [
        LogLine(
            id=entry.id,
            at=entry.created_at,
            text=describe(entry.action, entry.details or {}),
            who=_who(entry, own=own),
            where="" if entry.where is None else _where(entry.where),
            request_id=entry.request_id,
            user_id=entry.user_id,
            looked=is_admins(entry),
        )
        for entry in entries
    ]


def _who(entry: Entry, *, own: bool) -> str:
    match entry.actor_kind:
        case "person":
            return "You" if own else "The person"
        case "key":
            return f"API key {entry.actor_id}"
        case "admin":
            return f"Administrator {entry.actor_id}"
        case "system":
            return "An operator" if entry.actor_id == "operator" else f"Visiona ({entry.actor_id})"
        case "visitor":
            return "Somebody who was not logged in"
        case _:
            return ""


def _where(where: Where) -> str:
    return ", ".join(filter(None, (where.address, browser_words(where.client) if where.client else "")))


def action_labels() -> list[tuple[str, str]]:
    """Each action with words for choosing it, what administrators do left out."""
    return [(action, describe(action, {})) for action in Action if not action.startswith("admin.")]


def describe(action: str, details: Mapping[str, Any]) -> str:
    """A sentence without its full stop. An action that has no words here is told by its name."""
    known = dict(details)
    if "reason" in known:
        known["reason"] = REASONS.get(str(known["reason"]), "another reason")
    words = _WORDS.get(action)
    if words is not None:
        try:
            return words.format_map(known)
        except KeyError:  # an entry of an earlier release, which said less
            return re.sub(r":? ?{\w+}", "", words)
    area, _, name = action.partition(".")
    return f"{area}: {name}".replace("_", " ").capitalize()


def is_admins(entry: Entry) -> bool:
    return entry.action.startswith("admin.")
