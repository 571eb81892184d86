"""What people are told by mail, and the one-time links in it. Pure.

A link opens a page by GET, which changes nothing: scanners of mailboxes open links before people do.
The page acts by POST.
"""

import hmac
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from html import escape
from typing import Any, Final


class Kind(StrEnum):
    """The docstring of `compose` says which of them need a link or details."""

    VERIFY_ADDRESS = "verify_address"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a mail
    CHANGE_ADDRESS = "change_address"
    ADDRESS_CHANGED = "address_changed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a mail
    SECOND_FACTOR_ON = "second_factor_on"
    SECOND_FACTOR_OFF = "second_factor_off"
    PASSKEY_ADDED = "passkey_added"
    RECOVERY_CODES_USED = "recovery_codes_used"
    API_KEY_ADDED = "api_key_added"
    ACCOUNT_SUSPENDED = "account_suspended"
    TRIAL_ENDS = "trial_ends"
    PAYMENT_FAILED = "payment_failed"
    SUBSCRIPTION_ENDED = "subscription_ended"
    IMAGE_TAKEN_DOWN = "image_taken_down"
    IMAGE_REPORTED = "image_reported"
    COST_CAP_REACHED = "cost_cap_reached"
    EXPORT_READY = "export_ready"
    EXPORT_FAILED = "export_failed"
    ERASURE_ASKED = "erasure_asked"
    ERASURE_BEGINS = "erasure_begins"


class MailState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    REFUSED = "refused"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class SealedAddress:
    """`place` is the column that it is from, without which it does not open."""

    place: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One that was taken up to be sent. `to` is where it goes, None where there is no address any more;
    `attempts` counts this one too.
    """

    id: uuid.UUID
    user_id: int
    kind: str
    to: SealedAddress | None
    user_status: str
    reference: uuid.UUID | None
    details: Mapping[str, Any]
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """`origin` is where links lead, without a slash at the end."""

    origin: str
    link_secret: bytes = field(repr=False)
    product: str = "Visiona"


# When to send

RESET_LIFETIME: Final = timedelta(minutes=30)
"""How long a link to a new password can be used; the mail says so."""
GIVE_UP_AFTER: Final = timedelta(hours=24)
LEASE: Final = timedelta(minutes=2)
"""Longer than any attempt lasts: whoever took the mail up and has not said what became of it is dead."""
KEPT_FOR: Final = timedelta(days=30)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)

_PATHS: Final = {Kind.VERIFY_ADDRESS: "verify", Kind.RESET_PASSWORD: "reset", Kind.CHANGE_ADDRESS: "verify"}


def link_path(kind: Kind) -> str | None:
    """The page that the mail's link opens, where it has one."""
    return _PATHS.get(kind)


def pause_after(attempts: int) -> timedelta:
    """30 seconds, one minute, two, and so on, to an hour."""
    return min(_FIRST_PAUSE * 2 ** min(attempts - 1, 10), _LONGEST_PAUSE)


def lifetime(kind: str) -> timedelta:
    """How long after it was posted a mail is worth another attempt."""
    return RESET_LIFETIME if kind == Kind.RESET_PASSWORD else GIVE_UP_AFTER


def is_pointless(mail: Mail, now: datetime) -> bool:
    """Whether it would help nobody any more.

    Somebody whose account is suspended can follow no link, but is told what happened to it and to their
    money. News that were never tried, because no worker ran, are late and still news.
    """
    if mail.to is None or mail.user_status not in {"active", "suspended"} or mail.kind not in set(Kind):
        return True
    kind = Kind(mail.kind)
    if mail.user_status == "suspended" and link_path(kind) is not None:
        return True
    tried = mail.attempts > 1 or kind is Kind.RESET_PASSWORD
    return tried and now >= mail.created_at + lifetime(kind)


# One-time links

_ID_BYTES, _PROOF_BYTES = 16, 20
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{48}")


class LinkTokens:
    """Turns the id of a link into what stands in the mail, and back; nothing has to be stored for it.

    36 bytes as 48 characters: each token has one spelling.
    """

    def __init__(self, secret: bytes, *older: bytes) -> None:
        """`secret` issues; what the older ones issued is read as well."""
        self._secrets = (secret, *older)
        if any(len(one) < 32 for one in self._secrets):
            raise ValueError("the secret of links has at least 32 bytes")

    def issue(self, link_id: uuid.UUID) -> str:
        return urlsafe_b64encode(link_id.bytes + _proof(self._secrets[0], link_id.bytes)).decode("ascii")

    def read(self, token: str) -> uuid.UUID | None:
        """The id of the link, None for what was not issued with these secrets. Takes the same time for any
        wrong proof.
        """
        if not _TOKEN.fullmatch(token):
            return None
        content = urlsafe_b64decode(token)
        identity, proof = content[:_ID_BYTES], content[_ID_BYTES:]
        genuine = any(hmac.compare_digest(proof, _proof(secret, identity)) for secret in self._secrets)
        return uuid.UUID(bytes=identity) if genuine else None


def _proof(secret: bytes, identity: bytes) -> bytes:
    return hmac.digest(secret, b"link:" + identity, "sha256")[:_PROOF_BYTES]


# Words


@dataclass(frozen=True, slots=True)
class Words:
    """What a mail says. `action` is the label of its button and where that leads; `closing` comes after
    it, mostly what to do if it was not the reader who did this.
    """

    subject: str
    paragraphs: tuple[str, ...]
    action: tuple[str, str] | None = None
    closing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the words are made of. `link` is only asked of kinds that have one."""

    product: str
    origin: str
    link: str
    details: Mapping[str, Any]

    @property
    def security(self) -> str:
        return f"{self.origin}/account"

    @property
    def billing(self) -> str:
        return f"{self.origin}/billing"


def compose(
    kind: Kind, details: Mapping[str, Any], link: str | None, origin: str, product: str = "Visiona"
) -> tuple[str, str, str]:
    """Subject, text and HTML, which say the same.

    `link` is needed by `verify_address`, `reset_password` and `change_address`. Details: `left` (how many)
    by `recovery_codes_used`; `date` (ISO 8601) and `amount` (as people read it) by `trial_ends`;
    `amount` and `next_attempt` (ISO 8601 or None) by `payment_failed`; `cap` and `date` by
    `cost_cap_reached`; `receipt` by `erasure_asked`, with `day` (ISO 8601), and `erasure_begins`; `day` by
    `export_ready`. Raises `ValueError` where one is missing.
    """
    if link is None and link_path(kind) is not None:
        raise ValueError(f"a mail of the kind {kind} needs a link")
    try:
        words = _WORDS[kind](_Facts(product, origin, link or "", details))
    except (KeyError, TypeError) as error:
        raise ValueError(f"a mail of the kind {kind} lacks details") from error
    return words.subject, _text(words, product, origin), _html(words, product, origin)


def _verify_address(facts: _Facts) -> Words:
    return Words(
        f"Confirm your address for {facts.product}",
        (f"Somebody, we hope you, opened a {facts.product} account with this e-mail address.",),
        ("Confirm this address", facts.link),
        ("If it was not you, do nothing: without this mail nobody can confirm the address.",),
    )


def _reset_password(facts: _Facts) -> Words:
    minutes = int(RESET_LIFETIME.total_seconds() // 60)
    return Words(
        f"Choose a new {facts.product} password",
        (
            f"Somebody asked for a new password for your {facts.product} account.",
            f"The link works once, and for {minutes} minutes.",
        ),
        ("Choose a new password", facts.link),
        ("If it was not you, do nothing: your password stays as it is.",),
    )


def _change_address(facts: _Facts) -> Words:
    return Words(
        f"Confirm your new address for {facts.product}",
        (f"You asked us to use this e-mail address for your {facts.product} account from now on.",),
        ("Confirm this address", facts.link),
        (
            "Until you do, the address of the account stays the one before.",
            "If it was not you, do nothing: somebody has mistyped their address.",
        ),
    )


def _address_changed(facts: _Facts) -> Words:
    return Words(
        f"Your {facts.product} address was changed",
        (
            f"The e-mail address of your {facts.product} account is another one now.",
            "Mails about the account go there; this is the last one to this address.",
        ),
        None,
        (
            "If it was not you, somebody else has your account. Answer this mail at once.",
            "Change the password wherever else you use the same one.",
        ),
    )


def _not_you(what: str) -> tuple[str, ...]:
    return (
        f"If it was you, there is nothing to do. If it was not, {what}",
        "If you cannot log in any more, answer this mail.",
    )


def _password_changed(facts: _Facts) -> Words:
    return Words(
        f"Your {facts.product} password was changed",
        (f"The password of your {facts.product} account is a new one.",),
        ("Look at your account", facts.security),
        _not_you("choose another password at once: “Forgot password?” on the log-in page."),
    )


def _second_factor_on(facts: _Facts) -> Words:
    return Words(
        "Logging in takes a second step now",
        (
            f"An authenticator app was added to your {facts.product} account.",
            "From now on logging in asks for a code of it.",
            "Keep the recovery codes where you find them without your phone.",
        ),
        ("Look at your account", facts.security),
        _not_you("somebody else is in your account: change the password, and turn the second step off."),
    )


def _second_factor_off(facts: _Facts) -> Words:
    return Words(
        "Logging in takes no second step any more",
        (
            f"The second step was turned off for your {facts.product} account.",
            "The password alone is enough to log in.",
        ),
        ("Look at your account", facts.security),
        _not_you("change the password at once, and turn the second step on again."),
    )


def _passkey_added(facts: _Facts) -> Words:
    return Words(
        f"A passkey was added to your {facts.product} account",
        ("Whoever has the device that holds it can log in with it.",),
        ("Look at your account", facts.security),
        _not_you("remove the passkey and change the password at once."),
    )


def _recovery_codes_used(facts: _Facts) -> Words:
    left = int(facts.details["left"])
    remain = {0: "None is left.", 1: "One is left."}.get(left, f"{left} are left.")
    return Words(
        f"A recovery code of your {facts.product} account was used",
        (
            f"Somebody logged in with one of your recovery codes. {remain}",
            "Make new ones before you need them: the old ones end with that.",
        ),
        ("Make new recovery codes", facts.security),
        _not_you("change the password and make new recovery codes at once."),
    )


def _api_key_added(facts: _Facts) -> Words:
    return Words(
        f"An API key was added to your {facts.product} account",
        ("Programs that have it can act for you until you revoke it.",),
        ("Look at your API keys", facts.security),
        _not_you("revoke the key and change the password at once."),
    )


def _account_suspended(facts: _Facts) -> Words:
    return Words(
        f"Your {facts.product} account is suspended",
        (
            "Nobody can log in to it for now, and nothing is made in it. Your photos and images are kept.",
            "Answer this mail to learn why, or to have it looked at again.",
        ),
    )


def _trial_ends(facts: _Facts) -> Words:
    day = _day(facts.details["date"])
    amount = str(facts.details["amount"])
    return Words(
        f"Your {facts.product} trial ends on {day}",
        (f"Your trial ends on {day}. Then your subscription begins, and {amount} is charged.",),
        ("Look at your plan", facts.billing),
        ("If you do not want that, cancel there before: then nothing is charged.",),
    )


def _payment_failed(facts: _Facts) -> Words:
    again = facts.details["next_attempt"]
    following = (
        f"It is tried again on {_day(again)}."
        if again
        else "It is not tried again unless you pay it yourself."
    )
    return Words(
        f"A payment for {facts.product} did not go through",
        (
            f"Your bank turned down {facts.details['amount']} for your subscription. {following}",
            "Mostly the card has expired or its limit was reached. You can give another card.",
        ),
        ("Look at the payment", facts.billing),
    )


def _subscription_ended(facts: _Facts) -> Words:
    return Words(
        f"Your {facts.product} subscription has ended",
        (
            "Nothing will be charged any more. Your account is on the free plan from now on.",
            "Your photos, clones and images stay yours.",
        ),
        ("Look at the plans", f"{facts.origin}/pricing"),
    )


def _image_taken_down(facts: _Facts) -> Words:
    return Words(
        f"An image of yours was removed from {facts.product}",
        (
            "Somebody reported one of your images. We looked at it, and deleted it with its copies.",
            (
                "It showed what must not be made here: somebody who did not agree, somebody under age, "
                "nakedness, or what is meant to hurt."
            ),
        ),
        ("Look at your account's history", f"{facts.origin}/account/history"),
        ("If you think that this is a mistake, answer this mail.",),
    )


def _image_reported(facts: _Facts) -> Words:
    return Words(
        "An image was reported",
        ("Somebody reported an image. It has to be looked at within 48 hours.",),
        ("Look at the reports", f"{facts.origin}/admin/reports"),
        ("This is the only mail about reports today, however many come.",),
    )


def _cost_cap_reached(facts: _Facts) -> Words:
    return Words(
        f"{facts.product} has reached its daily cap on cost",
        (
            (
                f"What providers cost has reached {facts.details['cap']} US dollars on "
                f"{_day(facts.details['date'])}. New trainings and generations are refused until midnight "
                "(UTC); what is open goes on."
            ),
            "VISIONA_DAILY_COST_CAP is the setting. Look for abuse before you raise it.",
        ),
        ("Look at refusals and reports", f"{facts.origin}/admin/reports"),
    )


def _export_ready(facts: _Facts) -> Words:
    return Words(
        f"The copy of your {facts.product} data is ready",
        (
            "It holds your photos, images, prompts and everything else that is kept of you.",
            f"You can download it until {_day(facts.details['day'])}; then it is deleted.",
        ),
        ("Download it", f"{facts.origin}/account/privacy"),
        _not_you("change the password at once, and delete the copy on that page."),
    )


def _export_failed(facts: _Facts) -> Words:
    return Words(
        f"The copy of your {facts.product} data could not be made",
        (
            "It was tried again and again. Whoever runs this server knows of it.",
            "Please ask for a new one. If that fails too, answer this mail: they can make it for you.",
        ),
        ("Ask for a new one", f"{facts.origin}/account/privacy"),
        ("If it was not you who asked, change the password at once.",),
    )


def _erasure_asked(facts: _Facts) -> Words:
    return Words(
        f"Your {facts.product} account will be deleted",
        (
            (
                f"You asked for it. From {_day(facts.details['day'])} everything is deleted that is kept of "
                "you, here and at the firms that work for us. Until then you can look at it, or change your "
                "mind."
            ),
            (
                f"Keep this code of your receipt: {facts.details['receipt']}. It shows afterwards what was "
                "deleted."
            ),
        ),
        ("Keep my account", f"{facts.origin}/account/privacy"),
        ("If it was not you, take it back and change your password at once.",),
    )


def _erasure_begins(facts: _Facts) -> Words:
    receipt = facts.details["receipt"]
    return Words(
        f"Your {facts.product} account is being deleted",
        (
            "Everything that is kept of you is being deleted now, this address too: it is the last mail.",
            f"The code of your receipt is {receipt}.",
        ),
        ("Your receipt", f"{facts.origin}/receipts/{receipt}"),
    )


_WORDS: Final[Mapping[Kind, Callable[[_Facts], Words]]] = {
    Kind.VERIFY_ADDRESS: _verify_address,
    Kind.RESET_PASSWORD: _reset_password,
    Kind.CHANGE_ADDRESS: _change_address,
    Kind.ADDRESS_CHANGED: _address_changed,
    Kind.PASSWORD_CHANGED: _password_changed,
    Kind.SECOND_FACTOR_ON: _second_factor_on,
    Kind.SECOND_FACTOR_OFF: _second_factor_off,
    Kind.PASSKEY_ADDED: _passkey_added,
    Kind.RECOVERY_CODES_USED: _recovery_codes_used,
    Kind.API_KEY_ADDED: _api_key_added,
    Kind.ACCOUNT_SUSPENDED: _account_suspended,
    Kind.TRIAL_ENDS: _trial_ends,
    Kind.PAYMENT_FAILED: _payment_failed,
    Kind.SUBSCRIPTION_ENDED: _subscription_ended,
    Kind.IMAGE_TAKEN_DOWN: _image_taken_down,
    Kind.IMAGE_REPORTED: _image_reported,
    Kind.COST_CAP_REACHED: _cost_cap_reached,
    Kind.EXPORT_READY: _export_ready,
    Kind.EXPORT_FAILED: _export_failed,
    Kind.ERASURE_ASKED: _erasure_asked,
    Kind.ERASURE_BEGINS: _erasure_begins,
}


def _day(text: str) -> str:
    """`3 December 2026`, of an ISO date or time."""
    day = date.fromisoformat(text[:10])
    return f"{day.day} {day:%B %Y}"


# Layout


def _footer(product: str, origin: str) -> str:
    return f"{product} writes to you because you have an account at {origin}."


def _text(words: Words, product: str, origin: str) -> str:
    parts = [*words.paragraphs]
    if words.action is not None:
        label, url = words.action
        parts.append(f"{label}:\n{url}")
    return "\n\n".join([*parts, *words.closing, f"--\n{_footer(product, origin)}"]) + "\n"


_PARAGRAPH: Final = '<p style="margin:0 0 16px">'
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{subject}</title>
<style>
@media (prefers-color-scheme: dark) {{
  .page {{ background: #14161b !important; }}
  .card {{ background: #1d2027 !important; color: #e8e6e0 !important; border-color: #363b46 !important; }}
  .quiet {{ color: #a9adb8 !important; }}
  .link {{ color: #a5c3ff !important; }}
}}
</style>
</head>
<body class="page" style="margin:0;padding:24px 12px;background:#f4f4f1">
<div class="card" style="max-width:520px;margin:0 auto;padding:28px;border:1px solid #e0dfd9;\
border-radius:14px;background:#ffffff;color:#1d2330;font:16px/1.55 -apple-system,'Segoe UI',Roboto,\
Helvetica,Arial,sans-serif">
<p style="margin:0 0 20px;font-weight:700">{product}</p>
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">{subject}</h1>
{body}
<p class="quiet" style="margin:24px 0 0;font-size:13px;color:#5c6270">{footer}</p>
</div>
</body>
</html>
"""
_BUTTON: Final = """<p style="margin:24px 0 12px"><a href="{url}" style="display:inline-block;\
padding:12px 22px;border-radius:9px;background:#24509e;color:#ffffff;font-weight:600;\
text-decoration:none">{label}</a></p>
<p class="quiet" style="margin:0 0 24px;font-size:13px;color:#5c6270">Or open this address: \
<a class="link" href="{url}" style="color:#24509e;overflow-wrap:anywhere">{url}</a></p>"""


def _html(words: Words, product: str, origin: str) -> str:
    body = [f"{_PARAGRAPH}{escape(text)}</p>" for text in words.paragraphs]
    if words.action is not None:
        label, url = words.action
        body.append(_BUTTON.format(url=escape(url), label=escape(label)))
    body += [f"{_PARAGRAPH}{escape(text)}</p>" for text in words.closing]
    return _PAGE.format(
        subject=escape(words.subject),
        product=escape(product),
        body="\n".join(body),
        footer=escape(_footer(product, origin)),
    )
