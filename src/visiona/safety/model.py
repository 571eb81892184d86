"""Limits, spending, refusals and reports as values. Pure; the rules for prompts are in `policy`."""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from visiona.core.client import ClientInfo
from visiona.core.errors import Conflict, FieldError, Invalid, NotFound, TooMany, Unavailable

# Limits


class Limited(StrEnum):
    """What is counted, for each person and for each network address."""

    SIGNUP = "signup"
    UPLOAD = "upload"
    TRAINING = "training"
    GENERATION = "generation"
    REPORT = "report"
    CHECK = "check"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `allowed` within `window_s` seconds, which begin with the first use."""

    allowed: int
    window_s: int


_HOUR, _DAY = 3600, 86400
_WINDOWS: Final = MappingProxyType({"minute": 60, "hour": _HOUR, "day": _DAY})
_RATE: Final = re.compile(r"([1-9][0-9]{0,7})/(minute|hour|day)")

Party = Literal["person", "address"]
Rates = Mapping[tuple[Limited, Party], Rate]

DEFAULT_RATES: Final[Rates] = MappingProxyType(
    {
        (Limited.SIGNUP, "address"): Rate(30, _HOUR),
        (Limited.UPLOAD, "person"): Rate(600, _HOUR),
        (Limited.UPLOAD, "address"): Rate(3000, _HOUR),
        (Limited.TRAINING, "person"): Rate(20, _DAY),
        (Limited.TRAINING, "address"): Rate(100, _DAY),
        (Limited.GENERATION, "person"): Rate(240, _HOUR),
        (Limited.GENERATION, "address"): Rate(1200, _HOUR),
        (Limited.REPORT, "address"): Rate(20, _HOUR),
        (Limited.CHECK, "address"): Rate(120, _HOUR),
        (Limited.EXPORT, "person"): Rate(10, _DAY),
        (Limited.EXPORT, "address"): Rate(100, _DAY),
    }
)
"""A school or an office stands behind one address: what it may is several times what a person may."""

NETWORKS_OF_A_SITE: Final = 16
"""Of an IPv6 /48, taken together, as many may use up what each may."""

_DOINGS: Final = MappingProxyType(
    {
        Limited.SIGNUP: "new accounts",
        Limited.UPLOAD: "uploads",
        Limited.TRAINING: "trainings",
        Limited.GENERATION: "generations",
        Limited.REPORT: "reports",
        Limited.CHECK: "checks",
        Limited.EXPORT: "copies of your data",
    }
)


class LimitSettingError(ValueError):
    """A limit or a cap cannot be read; the message says which, and how it is written."""


def read_rates(given: Iterable[str]) -> Rates:
    """The default rates, with those changed that `signup.address=30/hour` or `check.address=off` names.

    Raises `LimitSettingError`.
    """
    rates = dict(DEFAULT_RATES)
    for entry in given:
        name, _, text = entry.partition("=")
        limited, _, party = name.strip().partition(".")
        if limited not in set(Limited) or party not in {"person", "address"}:
            raise LimitSettingError(f"{entry!r} names no limit: write signup.address=30/hour")
        key = Limited(limited), _party(party)
        if text.strip() == "off":
            rates.pop(key, None)
            continue
        found = _RATE.fullmatch(text.strip())
        if found is None:
            raise LimitSettingError(f"{entry!r} is no rate: write 30/minute, 30/hour, 30/day or off")
        rates[key] = Rate(int(found[1]), _WINDOWS[found[2]])
    return MappingProxyType(rates)


def _party(name: str) -> Party:
    return "person" if name == "person" else "address"


@dataclass(frozen=True, slots=True)
class Counted:
    """One allowance that is used: its key says neither who nor what to whoever reads the table."""

    key: bytes
    rate: Rate


def allowances(
    secret: bytes, rates: Rates, limited: Limited, client: ClientInfo, user_id: int | None
) -> list[Counted]:
    """What is counted against, in one order for everybody, so that two requests never wait for each other."""
    parties: list[tuple[Party, str, int]] = [("address", client.network, 1)]
    site = _site(client.network)
    if site is not None:
        parties.append(("address", site, NETWORKS_OF_A_SITE))
    if user_id is not None:
        parties.append(("person", str(user_id), 1))
    counted = [
        Counted(
            hmac.digest(secret, f"{limited}\0{party}\0{name}".encode(), hashlib.sha256),
            replace(rates[limited, party], allowed=rates[limited, party].allowed * times),
        )
        for party, name, times in parties
        if (limited, party) in rates
    ]
    return sorted(counted, key=lambda one: one.key)


def _site(network: str) -> str | None:
    """The /48 around an IPv6 network: whoever rents one has 65,536 networks to come from."""
    try:
        inner = ipaddress.ip_network(network)
    except ValueError:
        return None
    return str(inner.supernet(new_prefix=48)) if inner.version == 6 else None


def limit_reached(limited: Limited, wait_s: int) -> TooMany:
    return TooMany(
        "rate_limited",
        f"That were too many {_DOINGS[limited]} from you or your network. Try again {in_words(wait_s)}.",
        retry_after=wait_s,
    )


def in_words(seconds: int) -> str:
    """`in 40 seconds`, `in 5 minutes`, `in 3 hours`; rounded up."""
    if seconds < 120:
        return f"in {seconds} second{'' if seconds == 1 else 's'}"
    if seconds < 2 * _HOUR:
        return f"in {-(-seconds // 60)} minutes"
    return f"in {-(-seconds // _HOUR)} hours"


# Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingLimits:
    """US dollars: the caps of a day (UTC), None for none, and what each piece of work is reckoned to cost."""

    total_cap: Decimal | None
    person_cap: Decimal | None
    training: Decimal
    image: Decimal
    enhancement: Decimal

    def generation(self, images: int, *, enhance: bool) -> Decimal:
        return self.image * images + (self.enhancement if enhance else 0)


def read_amount(name: str, text: str) -> Decimal:
    """An amount of US dollars such as `0.04`. Raises `LimitSettingError`."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0 or amount >= 10**9:
        raise LimitSettingError(f"{name} is an amount of US dollars like 12.50, not {text!r}")
    return amount


def read_cap(name: str, text: str) -> Decimal | None:
    """The same, or `none`."""
    return None if text.strip().lower() == "none" else read_amount(name, text)


def over_own_cap(now: datetime) -> TooMany:
    return TooMany(
        "daily_limit_reached",
        "You have used what one account may in a day. Try again tomorrow (UTC); nothing was charged.",
        retry_after=seconds_to_tomorrow(now),
    )


def over_total_cap(now: datetime) -> Unavailable:
    return Unavailable(
        "daily_capacity_reached",
        "Visiona has reached what it may spend in a day. Try again tomorrow (UTC); nothing was charged.",
        retry_after=seconds_to_tomorrow(now),
    )


def seconds_to_tomorrow(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), now.tzinfo)
    return max(1, int((midnight - now).total_seconds()))


# Prompts


class Rule(StrEnum):
    """What a prompt was refused for."""

    MINORS = "minors"
    NUDITY = "nudity"
    OTHER_PERSON = "other_person"
    VIOLENCE = "violence"
    HATE = "hate"
    SELF_HARM = "self_harm"
    ILLICIT = "illicit"

    @property
    def code(self) -> str:
        """As the error of a field that breaks it."""
        return self.value

    @property
    def advice(self) -> str:
        """What is not made here, and what to do about it."""
        return _ADVICE[self]


_ADVICE: Final = MappingProxyType(
    {
        Rule.MINORS: "Visiona makes no pictures of children or of people who look under age. "
        "Take out the words about age, childhood or school.",
        Rule.NUDITY: "Visiona makes no nude or sexual pictures of real people. Describe clothes instead.",
        Rule.OTHER_PERSON: "Visiona makes pictures of you and nobody else. Take out the other person's name.",
        Rule.VIOLENCE: "Visiona makes no pictures of cruelty. Take out the violence.",
        Rule.HATE: "Visiona makes no hateful pictures. Take out what insults or threatens others.",
        Rule.SELF_HARM: "Visiona makes no pictures of self-harm. If you think of hurting yourself, talk to "
        "somebody now: findahelpline.com lists people who listen, free of charge.",
        Rule.ILLICIT: "Visiona makes no pictures of crimes. Describe something else.",
    }
)


def prompt_refused(rule: Rule, field_name: str = "prompt") -> Invalid:
    return Invalid("prompt_refused", rule.advice, errors=[FieldError(field_name, rule.code, rule.advice)])


_CATEGORIES: Final = (
    ("sexual/minors", Rule.MINORS),
    ("sexual", Rule.NUDITY),
    ("self-harm", Rule.SELF_HARM),
    ("hate", Rule.HATE),
    ("harassment", Rule.HATE),
    ("violence", Rule.VIOLENCE),
    ("illicit", Rule.ILLICIT),
)


def rule_of(categories: Iterable[str]) -> Rule | None:
    """The gravest rule that a moderation service's categories break; one that is new is taken for a crime."""
    given = set(categories)
    for name, rule in _CATEGORIES:
        if any(category == name or category.startswith(f"{name}/") for category in given):
            return rule
    return Rule.ILLICIT if given else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """How often somebody's prompts were refused in 30 days: counts, never words."""

    user_id: int
    times: int
    rules: Mapping[str, int]
    last_day: date


# Reports


class ReportReason(StrEnum):
    MINOR = "minor"
    NUDITY = "nudity"
    NOT_CONSENTED = "not_consented"
    HARASSMENT = "harassment"
    OTHER = "other"


DECISION_TIME: Final = timedelta(hours=48)
_CASE_ALPHABET: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
_CASE_LENGTH: Final = 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OBJECT_KEY: Final = re.compile(r"u[0-9]{1,18}/[a-z]+/[A-Za-z0-9._/-]{1,200}")


@dataclass(frozen=True, slots=True)
class CaseNumber:
    """What somebody who reported an image looks its state up by: about 98 random bits."""

    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()

    @classmethod
    def fresh(cls) -> "CaseNumber":
        letters = "".join(secrets.choice(_CASE_ALPHABET) for _ in range(_CASE_LENGTH))
        return cls("-".join(letters[i : i + 5] for i in range(0, _CASE_LENGTH, 5)))

    @classmethod
    def read(cls, text: str) -> "CaseNumber":
        """As somebody typed it. Raises `NotFound` for what cannot be one."""
        letters = "".join(character for character in text.upper() if character.isalnum())
        if len(letters) != _CASE_LENGTH:
            raise case_not_found()
        return cls("-".join(letters[i : i + 5] for i in range(0, _CASE_LENGTH, 5)))


@dataclass(frozen=True, slots=True)
class ReportedThing:
    """Which image is meant: by the key that its link names, or by the SHA-256 of the downloaded file."""

    object_key: str | None = field(default=None, repr=False)
    digest: str | None = None

    @property
    def lookup(self) -> str:
        return self.object_key or self.digest or ""


def read_reported(quoted: str) -> ReportedThing:
    """A link to an image as it was copied, old or new, or the SHA-256 of the file. Raises `Invalid`."""
    text = quoted.strip()
    if _DIGEST.fullmatch(text.lower()):
        return ReportedThing(digest=text.lower())
    key = unquote(urlsplit(text).path).partition("/media/")[2] if len(text) <= 2000 else ""
    if _OBJECT_KEY.fullmatch(key):
        return ReportedThing(object_key=key)
    advice = "Give the image's link (it has /media/ in it), the file itself, or the file's SHA-256."
    raise Invalid("invalid_report", advice, errors=[FieldError("image", "invalid_value", advice)])


def read_reason(text: str) -> ReportReason:
    if text not in set(ReportReason):
        advice = f"Choose one of: {', '.join(ReportReason)}."
        raise Invalid("invalid_report", advice, errors=[FieldError("reason", "invalid_value", advice)])
    return ReportReason(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseState:
    """For whoever reported: `open`, `dismissed`, `taken_down`, or `gone` where its owner deleted it first."""

    state: str
    created_at: datetime
    decided_at: datetime | None

    @property
    def due_at(self) -> datetime:
        return self.created_at + DECISION_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One line of the administrators' list."""

    id: int
    user_id: int | None
    image_id: int | None
    reason: str
    state: str
    created_at: datetime
    decided_at: datetime | None

    @property
    def due_at(self) -> datetime:
        return self.created_at + DECISION_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedImage:
    """The one image that a report is about; `others` counts further open reports of it."""

    id: int
    user_id: int
    image_id: int
    reason: str
    created_at: datetime
    image_key: str
    thumbnail_key: str
    width: int
    height: int
    made_at: datetime
    others: int

    @property
    def due_at(self) -> datetime:
        return self.created_at + DECISION_TIME


def image_unknown() -> NotFound:
    return NotFound(
        "image_unknown",
        "Visiona keeps no such image: it was deleted, changed since it was downloaded, or made elsewhere. "
        "Try the link instead of the file, or the file as it was downloaded.",
    )


def case_not_found() -> NotFound:
    return NotFound("case_not_found", "There is no case of this number. Check it for slips.")


def report_closed() -> Conflict:
    return Conflict("report_closed", "This report is decided already, or the image is gone.")
