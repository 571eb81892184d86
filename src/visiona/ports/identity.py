"""Who somebody is, as an identity provider vouches: Visiona's own accounts, or a service such as Clerk.

A provider knows people by a *subject* that never changes. Visiona keeps a row of its own for each, and
sessions of its own: what is asked here is who is behind a password, a token or a hosted page, and
whether what it vouched for still holds.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


class IdentityError(Exception):
    """Base of what a provider refuses because of what the person sent."""


class WrongCredentials(IdentityError):
    """No account has this address with this password; which of the two is wrong is not said."""


class AddressTaken(IdentityError):
    """There is an account with this address already."""


class PasswordRefused(IdentityError):
    """The provider does not accept the password for a new account; `message` says why, fit to show."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AddressRefused(IdentityError):
    """The provider makes no account for this address; `message` says why, fit to show."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AccountBarred(IdentityError):
    """The provider knows the person, and does not let them in (banned or locked)."""


class HostedSignInNeeded(IdentityError):
    """The password is right, and the provider wants more, such as a second factor, on its own pages."""


class InvalidToken(IdentityError):
    """The token was not issued by the provider for this Visiona, or is not valid now.

    `reason` is a word of ours for logs and tests, never a part of the token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the provider knows of a person, as far as Visiona keeps it.

    `email` is the primary address or None where there is none. `revision` grows with every change (a
    time in milliseconds, for instance): of two profiles of a person, the larger revision is newer.
    `mark` is another for each password that the person ever has, and says nothing about it; empty where the
    provider itself ends what an old password has opened.
    """

    subject: str
    email: str | None = field(repr=False)
    email_verified: bool
    barred: bool
    revision: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class SessionReport:
    """A session at the provider. `alive` is false once it was ended, revoked or replaced, or ran out."""

    id: str
    subject: str
    alive: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What a genuine session token says: whose it is, of which session, until when.

    `confirmed_at` is when the person proved last who they are, None where the token does not say.
    """

    subject: str
    session_id: str
    expires_at: datetime
    confirmed_at: datetime | None


class IdentityProvider(Protocol):
    """Every method may raise `visiona.ports.errors.ProviderError` where the provider does not answer."""

    async def register(self, email: str, password: str) -> Profile:
        """Make an account. Repeated after a lost answer it finds the account that it has made.

        Raises `AddressTaken`, `AddressRefused` or `PasswordRefused`.
        """
        ...

    async def check_password(self, email: str, password: str) -> Profile:
        """Raises `WrongCredentials`, `AccountBarred` or `HostedSignInNeeded`. An unknown address and a
        wrong password are refused alike.
        """
        ...


class HostedIdentity(IdentityProvider, Protocol):
    """A provider elsewhere, with pages, tokens and sessions of its own."""

    async def profile(self, subject: str) -> Profile | None:
        """None where the provider has nobody of that subject (any more)."""
        ...

    async def delete(self, subject: str) -> None:
        """Remove the account at the provider. Safe to repeat."""
        ...

    async def verify(self, token: str, now: datetime) -> TokenReport:
        """Raises `InvalidToken`, or `ProviderUnavailable` where its keys were never fetched and cannot be."""
        ...

    async def open_session(self, subject: str) -> SessionReport:
        """Sign the person in, who has proved to us who they are, at the provider too.

        Raises `AccountBarred` or `HostedSignInNeeded`.
        """
        ...

    async def session(self, session_id: str) -> SessionReport | None:
        """None where the provider knows no such session (any more)."""
        ...

    async def end_session(self, session_id: str) -> None:
        """Safe to repeat, and for a session that is over or unknown."""
        ...

    @property
    def session_cookies(self) -> tuple[str, ...]:
        """The names of cookies in which the provider's own script keeps a session token on our pages; where
        there are several, the first counts.
        """
        ...

    def sign_in_page(self, return_to: str) -> str:
        """The address of the page where a browser signs in and is then sent to `return_to`."""
        ...

    def sign_up_page(self, return_to: str) -> str: ...

    def account_page(self, return_to: str) -> str:
        """Where people change their address, password and second factors."""
        ...

    def handshake_page(self, return_to: str, *, reason: str, browser_token: str | None) -> str:
        """Where a browser that may be signed in at the provider fetches a session token for us.

        `browser_token` is what a development instance put into the address it sent the browser back to.
        """
        ...

    async def read_handshake(self, *, token: str | None, nonce: str | None, now: datetime) -> list[str]:
        """The `Set-Cookie` lines that the handshake brought, verified. Raises `InvalidToken`."""
        ...
