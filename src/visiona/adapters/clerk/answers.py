"""Clerk's answers, read into the port's own types. Its times are milliseconds.

Fields that are not needed are ignored, since Clerk adds some without notice; a field that is needed and
has the wrong type makes the whole answer unusable.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from visiona.ports.identity import Profile, SessionReport

T = TypeVar("T")

Subject = Annotated[str, msgspec.Meta(pattern="^user_[A-Za-z0-9_]{1,100}$")]
SessionId = Annotated[str, msgspec.Meta(pattern="^sess_[A-Za-z0-9_]{1,100}$")]

_SUBJECT = re.compile(r"user_[A-Za-z0-9_]{1,100}")
_SESSION_ID = re.compile(r"sess_[A-Za-z0-9_]{1,100}")
_MAX_ADDRESS = 254


class UnusableAnswerError(Exception):
    """The body is not what the contract says it is. The text holds nothing of the body."""


class Verification(msgspec.Struct):
    status: str


class EmailAddress(msgspec.Struct):
    email_address: str
    id: str | None = None
    reserved: bool = False
    verification: Verification | None = None

    @property
    def verified(self) -> bool:
        return self.verification is not None and self.verification.status == "verified"


class User(msgspec.Struct):
    id: Subject
    primary_email_address_id: str | None
    email_addresses: list[EmailAddress]
    two_factor_enabled: bool
    banned: bool
    locked: bool
    last_sign_in_at: int | None
    updated_at: int
    external_id: str | None
    deprovisioned: bool = False

    @property
    def barred(self) -> bool:
        return self.banned or self.deprovisioned

    @property
    def shut_out(self) -> bool:
        """Whether they cannot sign in now. Who is only locked stays signed in where they are: anybody can
        lock anybody by guessing passwords.
        """
        return self.barred or self.locked

    @property
    def primary(self) -> EmailAddress | None:
        for address in self.email_addresses:
            if address.id is not None and address.id == self.primary_email_address_id:
                return address if len(address.email_address) <= _MAX_ADDRESS else None
        return None

    def holds(self, email: str) -> EmailAddress | None:
        """The entry of this address, if it is this person's alone: verified, or reserved for them."""
        for address in self.email_addresses:
            ours = address.verified or address.reserved
            if ours and address.email_address.casefold() == email.casefold():
                return address
        return None

    def profile(self) -> Profile:
        address = self.primary
        return Profile(
            subject=self.id,
            email=address.email_address if address else None,
            email_verified=address.verified if address else False,
            barred=self.barred,
            revision=self.updated_at,
        )


class VerifiedPassword(msgspec.Struct):
    verified: bool


class Deleted(msgspec.Struct):
    id: Subject
    deleted: bool


class SignInToken(msgspec.Struct):
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class SignIn(msgspec.Struct):
    status: str
    created_session_id: SessionId | None = None


class SignInAnswer(msgspec.Struct):
    response: SignIn


class Session(msgspec.Struct):
    id: SessionId
    user_id: Subject
    status: str
    # Up to the year 9999, beyond which there is no date.
    expire_at: Annotated[int, msgspec.Meta(ge=0, le=253402300799999)]

    def report(self) -> SessionReport:
        """A session of any other status, `pending` among them, does not let anybody in."""
        expires_at = datetime.fromtimestamp(self.expire_at / 1000, UTC)
        return SessionReport(self.id, self.user_id, self.status == "active", expires_at)


class HandshakePayload(msgspec.Struct):
    directives: list[str]


def read(body: bytes, form: type[T]) -> T:
    """Raises `UnusableAnswerError` where `body` is not JSON of this form."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # Without the cause: a decoding error may quote the body.
        raise UnusableAnswerError(
            f"not a {getattr(form, '__name__', form)}: {type(error).__name__}"
        ) from None


def usable_subject(text: str) -> bool:
    """Whether `text` can be a person's id, and so may be put into a path."""
    return _SUBJECT.fullmatch(text) is not None


def usable_session_id(text: str) -> bool:
    return _SESSION_ID.fullmatch(text) is not None
