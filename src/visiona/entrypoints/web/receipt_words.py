"""The receipt of an erasure in plain words. Pure."""

import hashlib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from visiona.entrypoints.web.wording import counted
from visiona.privacy.model import STEPS

_CAUSES: Final = {
    "person": "The person asked for it.",
    "admin": "An administrator ordered it.",
    "identity": "The account was deleted at the sign-in service.",
    "operator": "Whoever runs this server ordered it.",
    "restore": "It was done again after a backup from before it had been restored.",
}
_STEPS: Final = {
    "work": ("Work", "", "No training and no picture is in the making any more."),
    "mail": ("Mails", "The last one was sent.", "There was nobody to send a last one to, or no way."),
    "payments": (
        "At the payment service",
        "The customer was deleted, and the card with it. Nothing can be charged.",
        "There was no customer to delete.",
    ),
    "identity": (
        "At the sign-in service",
        "The account to sign in with was deleted.",
        "There was no account to sign in with elsewhere.",
    ),
    "training": ("At the firm that trains and draws", "", "It kept nothing of theirs."),
    "rows": ("In our database", "{records} deleted, or kept without the person.", "There was nothing left."),
    "objects": (
        "Files",
        "{files} deleted: photos, pictures, and what was made of them.",
        "There were none.",
    ),
    "key": (
        "The key",
        "The key to everything of theirs was destroyed, and so are all copies in backups.",
        "",
    ),
}
"""Of each step its title, and what is told of it where there was something, and where there was not."""

_BY_HAND: Final = "Whoever runs this server says that they deleted it there themselves."
_TRAINED: Final = {
    "versions": "trained models",
    "models": "places for them",
    "archives": "archives of photos",
}
_ROWS: Final = {
    "photos": "Photos",
    "models": "Clones",
    "generations": "Pictures and their prompts",
    "runs": "Requests for pictures",
    "trainings": "Trainings",
    "consents": "Consents",
    "payments": "Payments",
    "invoices": "Copies of invoices",
    "subscriptions": "Subscriptions",
    "mails": "Mails",
    "sessions": "Sessions",
    "passkeys": "Passkeys",
    "api_keys": "API keys",
    "reports": "Reports of their pictures",
    "exports": "Copies of their data",
    "audit_logs": "Entries of the log, which stay without the person",
    "users": "The account itself",
}
_OTHER_ROWS: Final = "Others: counts, settings, and what holds these together"
_KEPT: Final = {
    "audit_logs": "The log, without the person",
    "erasures": "This receipt",
    "departed_subjects": "A mark that the account is gone",
    "sign_in_attempts": "Counts of failed sign-ins",
    "rate_limits": "Counts of how often something was done",
    "invoices at the payment service": "Invoices at the payment service",
}


@dataclass(frozen=True, slots=True)
class Step:
    """`at` is RFC 3339; `parts` are what it was made up of: words and how many."""

    name: str
    title: str
    text: str
    at: str
    parts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """`until` is a year, where there is an end."""

    what: str
    why: str
    until: str | None


@dataclass(frozen=True, slots=True)
class ReceiptWords:
    cause: str
    asked_at: str
    finished_at: str
    steps: tuple[Step, ...]
    kept: tuple[Kept, ...]
    fingerprint: str


def receipt_words(facts: Mapping[str, Any]) -> ReceiptWords:
    """Of a whole receipt, its key included. A step that has no words here is told by its name."""
    return ReceiptWords(
        cause=_CAUSES.get(facts["cause"], ""),
        asked_at=facts["asked_at"],
        finished_at=facts["finished_at"],
        steps=tuple(_step(name, facts["steps"][name]) for name in sorted(facts["steps"], key=_place)),
        kept=tuple(_kept(one) for one in facts["kept"]),
        fingerprint=fingerprint(facts["key"]),
    )


def fingerprint(key: str) -> str:
    """SHA-256 of a public key in base64, in groups that are read aloud."""
    digest = hashlib.sha256(b64decode(key)).hexdigest()
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def _kept(entry: Mapping[str, Any]) -> Kept:
    what = str(entry["what"])
    return Kept(_KEPT.get(what, what.replace("_", " ").capitalize()), entry["why"], entry.get("until"))


def _place(name: str) -> tuple[int, str]:
    """The database keeps no order."""
    return (STEPS.index(name) if name in STEPS else len(STEPS), name)


def _step(name: str, done: Mapping[str, Any]) -> Step:
    counts = _counts(done["count"])
    amount = sum(counts.values())
    title, some, none = _STEPS.get(name, (name.replace("_", " ").capitalize(), "Done.", "Done."))
    if name == "training":
        some = f"Deleted: {', '.join(_named(counts, _TRAINED))}."
    text = (some if amount else none).format(
        records=counted(amount, "records"), files=counted(amount, "files")
    )
    if done.get("by_hand"):
        text = _BY_HAND
    return Step(name, title, text, done["at"], _rows(counts) if name == "rows" else ())


def _counts(count: int | Mapping[str, int]) -> dict[str, int]:
    """By what was counted, nothing left out; without a name where there is one number only."""
    return (
        {"": count} if isinstance(count, int) else {name: amount for name, amount in count.items() if amount}
    )


def _named(counts: Mapping[str, int], words: Mapping[str, str]) -> list[str]:
    return [counted(amount, words.get(name, name)) for name, amount in counts.items()]


def _rows(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    told = tuple((words, counts[table]) for table, words in _ROWS.items() if table in counts)
    others = sum(amount for table, amount in counts.items() if table not in _ROWS)
    return (*told, (_OTHER_ROWS, others)) if others else told
