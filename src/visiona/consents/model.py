"""Consents and the texts that they are given to. Pure."""

import hashlib
import hmac
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources

from visiona.core.client import ClientInfo
from visiona.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound

ASKED_FOR = timedelta(days=14)
MAX_NAME = 100
MAX_ASKED = 20
PURPOSE = "train_and_generate"
RETENTION = "until_withdrawn_or_account_deleted"


class Subject(StrEnum):
    """Whose face it is: the account holder's own, or somebody else's who is asked by a link."""

    SELF = "self"
    OTHER = "other"


class State(StrEnum):
    ASKED = "asked"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """What people read. `sha256` is of the file's bytes; `confirmations` are what they tick."""

    version: str
    sha256: bytes
    title: str
    sections: tuple[Section, ...]
    confirmations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Consent:
    """`label` is what the account holder calls somebody else; `name` how the person signed.

    `version` is of the text that was agreed to, None while nobody has answered.
    """

    id: uuid.UUID
    user_id: int
    subject: Subject
    state: State
    version: str | None
    label: str | None = field(repr=False)
    name: str | None = field(repr=False)
    asked_at: datetime
    expires_at: datetime | None
    answered_at: datetime | None
    withdrawn_at: datetime | None

    @property
    def current(self) -> bool:
        """Whether photos of this face may be used now."""
        return self.state is State.GIVEN and self.version == current_text().version


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said to the current text: their name as signature, and from where it came."""

    name: str = field(repr=False)
    client: ClientInfo = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the link to somebody else's consent shows."""

    id: uuid.UUID
    user_id: int
    state: State
    expires_at: datetime
    label: str = field(repr=False)


@cache
def texts() -> tuple[Text, ...]:
    """All that people have been asked to agree to, the oldest first."""
    folder = resources.files("visiona.consents") / "texts"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".md")), key=lambda f: f.name)
    return tuple(_parsed(file.name.removesuffix(".md"), file.read_bytes()) for file in files)


def current_text() -> Text:
    return texts()[-1]


def checked_name(text: str, field_name: str = "name") -> str:
    """A name as somebody types it. Raises `Invalid` (`invalid_input`)."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        error = FieldError(field_name, "invalid_value", f"Type a name of 1 to {MAX_NAME} characters.")
        raise Invalid("invalid_input", "Type the full name.", errors=[error])
    return name


def check_statements(*, version: str, adult: bool, agreed: bool) -> None:
    """Raises `Invalid` unless both statements are made, to the text that is current."""
    if version != current_text().version:
        raise Conflict(
            "consent_text_changed",
            "The text has changed since you opened it. Read the new one, and sign that.",
        )
    missing = [
        FieldError(name, "required", message)
        for name, said, message in (
            ("adult", adult, "Confirm that you are at least 18 years old."),
            ("agreed", agreed, "Confirm that you consent."),
        )
        if not said
    ]
    if missing:
        raise Invalid("invalid_input", "Both confirmations are needed.", errors=missing)


def token_of(consent_id: uuid.UUID, secret: bytes) -> str:
    """What stands in the link: the id, and an HMAC of it under `secret`."""
    return consent_id.hex + _signature(consent_id, secret)


def consent_in(token: str, secret: bytes) -> uuid.UUID:
    """Raises `NotFound` (`consent_not_found`) for what was not made with `secret`."""
    try:
        consent_id = uuid.UUID(hex=token[:32])
    except ValueError:
        raise not_found() from None
    if not hmac.compare_digest(token[32:].encode(), _signature(consent_id, secret).encode()):
        raise not_found()
    return consent_id


def needed() -> Forbidden:
    return Forbidden(
        "consent_needed",
        "Before photos of a face are used, the person whose face it is has to consent. "
        "Read the text and sign it under /consent.",
    )


def for_another() -> Forbidden:
    return Forbidden(
        "consent_for_another",
        "This consent is asked of somebody else, and only they can give it: you asked for it. "
        "Send them the link; they answer on a device of their own.",
    )


def not_found() -> NotFound:
    return NotFound("consent_not_found", "There is no such consent. The link may be incomplete or too old.")


def answered_already() -> Conflict:
    return Conflict("consent_answered", "This request has been answered already, or is over.")


def too_many() -> Conflict:
    return Conflict(
        "too_many_consents", f"{MAX_ASKED} requests are open. Wait for an answer, or take one back."
    )


def _signature(consent_id: uuid.UUID, secret: bytes) -> str:
    return hmac.digest(secret, b"consent:" + consent_id.bytes, "sha256").hex()[:32]


def _parsed(version: str, data: bytes) -> Text:
    """The small part of Markdown that the texts use: a title, sections, paragraphs, one list at the end."""
    title, *parts = data.decode().split("\n## ")
    sections = [part.strip().split("\n") for part in parts]
    *told, (_, *confirmed) = sections
    return Text(
        version,
        hashlib.sha256(data).digest(),
        title.strip().removeprefix("# "),
        tuple(Section(heading, tuple(lines)) for heading, *lines in told),
        tuple(line.removeprefix("- ") for line in confirmed),
    )
