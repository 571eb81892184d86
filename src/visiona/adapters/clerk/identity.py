"""Clerk as `visiona.ports.identity.HostedIdentity`."""

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import datetime

from visiona.adapters.clerk.answers import (
    Deleted,
    HandshakePayload,
    Session,
    SignInAnswer,
    SignInToken,
    User,
    VerifiedPassword,
    usable_session_id,
    usable_subject,
)
from visiona.adapters.clerk.calls import ClerkCalls, Repeat, or_none
from visiona.adapters.clerk.config import ClerkConfig
from visiona.adapters.clerk.failures import PROVIDER, Refused, lost
from visiona.adapters.clerk.keys import FetchedKeys, GivenKey
from visiona.adapters.clerk.pages import ClerkPages
from visiona.adapters.clerk.tokens import SessionTokens, own_cookies
from visiona.adapters.http import UNUSABLE_ANSWER
from visiona.ports.errors import ProviderNotFound
from visiona.ports.identity import (
    AccountBarred,
    AddressRefused,
    AddressTaken,
    HostedSignInNeeded,
    InvalidToken,
    PasswordRefused,
    Profile,
    SessionReport,
    TokenReport,
    WrongCredentials,
)

TICKET_TTL_S = 60

# Nobody's: asked in place of somebody, so that an unknown address costs the same number of calls.
_NOBODY = "user_" + "0" * 27
_NONCE = re.compile(r"[A-Za-z0-9_.~-]{1,512}")
_TAKEN = ("form_identifier_exists", "duplicate_record")
_BARRED = ("user_banned", "user_locked")


class ClerkIdentity:
    """Close it with `aclose`. `monotonic` is for how old the fetched keys are."""

    def __init__(self, config: ClerkConfig, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._secret = config.secret_key.encode()
        self._wrong_password_floor_s = config.wrong_password_floor_s
        self._calls = ClerkCalls(config)
        self._pages = ClerkPages(config)
        given = config.public_key()
        self._keys = (
            GivenKey(given)
            if given is not None
            else FetchedKeys(
                self._calls.fetch_keys,
                floor_s=config.keys_floor_s,
                max_age_s=config.keys_max_age_s,
                monotonic=monotonic,
            )
        )
        self._tokens = SessionTokens(
            self._keys, issuer=config.frontend, authorized_parties=config.authorized_parties
        )

    async def aclose(self) -> None:
        await self._keys.aclose()
        await self._calls.aclose()

    # People

    async def register(self, email: str, password: str) -> Profile:
        """A repeat after a lost answer finds what the first call has made, by an id that follows from
        the address: for whoever knows the password, and as long as nobody has signed in with it.
        """
        external_id = self._external_id(email)
        taken = await self._create(email, password, external_id)
        if isinstance(taken, Profile):
            return taken
        holder = await self._find({"external_id": external_id}, lambda user: user.external_id == external_id)
        if holder is not None and holder.holds(email) and await self._was_just_made(holder, password):
            return holder.profile()
        if holder is not None and not holder.holds(email) and taken == {"external_id"}:
            # Who had this address when they signed up has another one now, and keeps the id.
            again = await self._create(email, password, None)
            if isinstance(again, Profile):
                return again
        raise AddressTaken

    async def check_password(self, email: str, password: str) -> Profile:
        """Who fails, fails alike: by the same calls, and not before the same time."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + self._wrong_password_floor_s
        try:
            return await self._checked(email, password)
        except WrongCredentials:
            await asyncio.sleep(max(0.0, earliest - loop.time()))
            raise

    async def profile(self, subject: str) -> Profile | None:
        if not usable_subject(subject):
            return None
        user = await or_none(self._calls.get("a user", f"/users/{subject}", User))
        if user is None:
            return None
        _require_same(user.id, subject)
        return user.profile()

    async def delete(self, subject: str) -> None:
        if not usable_subject(subject):
            return
        deleted = await or_none(self._calls.delete("a deletion", f"/users/{subject}", Deleted))
        if deleted is not None:
            _require_same((deleted.id, deleted.deleted), (subject, True))

    # Sessions

    async def verify(self, token: str, now: datetime) -> TokenReport:
        return await self._tokens.verify(token, now)

    async def open_session(self, subject: str) -> SessionReport:
        """By a ticket that lives for a minute, and is redeemed here and now: it never leaves the process."""
        if not usable_subject(subject):
            raise ProviderNotFound(PROVIDER, "no such user")
        order = {"user_id": subject, "expires_in_seconds": TICKET_TTL_S}
        # A ticket whose answer is lost is of no use to anybody.
        asked = self._calls.post("a ticket", "/sign_in_tokens", order, SignInToken, repeat=Repeat.HARMLESSLY)
        ticket = await or_none(asked)
        if ticket is None:
            raise ProviderNotFound(PROVIDER, "no such user")
        session_id = await self._redeem(ticket.token)
        report = await self.session(session_id)
        if report is None or report.subject != subject:
            raise lost(UNUSABLE_ANSWER, repeatable=False)
        if not report.alive:  # there are things to do before it counts, on Clerk's pages
            raise HostedSignInNeeded
        return report

    async def session(self, session_id: str) -> SessionReport | None:
        if not usable_session_id(session_id):
            return None
        found = await or_none(self._calls.get("a session", f"/sessions/{session_id}", Session))
        if found is None:
            return None
        _require_same(found.id, session_id)
        return found.report()

    async def end_session(self, session_id: str) -> None:
        if not usable_session_id(session_id):
            return
        path = f"/sessions/{session_id}/revoke"
        try:
            await or_none(self._calls.post("a session's end", path, None, Session, repeat=Repeat.FREELY))
        except Refused as refusal:
            # Of one that is over already, Clerk says 400: see that it is.
            report = await self.session(session_id) if refusal.status in {400, 422} else None
            if refusal.status not in {400, 422} or (report is not None and report.alive):
                raise

    # Pages

    @property
    def session_cookies(self) -> tuple[str, ...]:
        return self._pages.session_cookies

    def sign_in_page(self, return_to: str) -> str:
        return self._pages.sign_in(return_to)

    def sign_up_page(self, return_to: str) -> str:
        return self._pages.sign_up(return_to)

    def account_page(self, return_to: str) -> str:
        return self._pages.account(return_to)

    def handshake_page(self, return_to: str, *, reason: str, browser_token: str | None) -> str:
        return self._pages.handshake(return_to, reason, browser_token)

    async def read_handshake(self, *, token: str | None, nonce: str | None, now: datetime) -> list[str]:
        """The nonce counts where both are given, since Clerk itself vouches for it."""
        if nonce:
            return await self._handshake_of(nonce)
        if token:
            return await self._tokens.read_handshake(token, now)
        raise InvalidToken("no_handshake")

    async def _checked(self, email: str, password: str) -> Profile:
        user = await self._find({"email_address": email}, lambda user: user.holds(email) is not None)
        fits = await self._password_fits(user.id if user else _NOBODY, password)
        if user is None or not fits:
            raise WrongCredentials
        if user.shut_out:
            raise AccountBarred
        if user.two_factor_enabled:
            raise HostedSignInNeeded
        return user.profile()

    async def _create(self, email: str, password: str, external_id: str | None) -> Profile | set[str]:
        """The new account, or the parameters whose values somebody has already."""
        order = {
            "email_address": [email],
            # Nobody has proved yet that it is theirs.
            "email_address_identification_status": ["reserved"],
            "password": password,
        }
        if external_id is not None:
            order["external_id"] = external_id
        try:
            user = await self._calls.post("a new user", "/users", order, User, repeat=Repeat.NEVER)
        except Refused as refusal:
            taken = {problem.parameter for problem in refusal.problems if problem.code in _TAKEN}
            if taken:
                return taken
            _raise_what_is_refused(refusal)
            raise
        return user.profile()

    async def _find(self, query: dict[str, str], matches: Callable[[User], bool]) -> User | None:
        """Clerk's filter is not trusted alone: a value that begins with a sign can mean all others."""
        users = await self._calls.get("users", "/users", list[User], query | {"limit": "10"})
        return next(filter(matches, users), None)

    async def _password_fits(self, subject: str, password: str) -> bool:
        path, body = f"/users/{subject}/verify_password", {"password": password}
        try:
            answer = await self._calls.post(
                "a password", path, body, VerifiedPassword, repeat=Repeat.HARMLESSLY
            )
        except Refused as refusal:
            if refusal.names_nothing or refusal.has("incorrect_password", "no_password_set", *_BARRED):
                return False
            if any(problem.parameter == "password" for problem in refusal.problems):
                return False
            raise
        return answer.verified

    async def _was_just_made(self, user: User, password: str) -> bool:
        untouched = user.last_sign_in_at is None and not user.shut_out and not user.two_factor_enabled
        return untouched and await self._password_fits(user.id, password)

    async def _redeem(self, ticket: str) -> str:
        form = {"strategy": "ticket", "ticket": ticket}
        try:
            answer = await self._calls.post_frontend("a sign-in", "/v1/client/sign_ins", form, SignInAnswer)
        except Refused as refusal:
            if refusal.has(*_BARRED):
                raise AccountBarred from None
            raise
        sign_in = answer.response
        if sign_in.status != "complete" or sign_in.created_session_id is None:
            raise HostedSignInNeeded
        return sign_in.created_session_id

    async def _handshake_of(self, nonce: str) -> list[str]:
        if not _NONCE.fullmatch(nonce):
            raise InvalidToken("malformed_nonce")
        query = {"nonce": nonce}
        try:
            payload = await self._calls.get(
                "a handshake", "/clients/handshake_payload", HandshakePayload, query, repeat=Repeat.HARMLESSLY
            )
        except Refused as refusal:
            if refusal.status in {400, 404, 410, 422}:
                raise InvalidToken("unknown_nonce") from None
            raise
        return own_cookies(payload.directives)

    def _external_id(self, email: str) -> str:
        """Says nothing of the address to who does not have the secret key."""
        digest = hmac.new(self._secret, f"visiona account\0{email.casefold()}".encode(), hashlib.sha256)
        return f"visiona_{digest.hexdigest()}"


def _raise_what_is_refused(refusal: Refused) -> None:
    """What the person can put right, with Clerk's sentence; nothing where it is not about them."""
    for problem in refusal.problems:
        if problem.code.startswith("form_password_") or problem.parameter == "password":
            raise PasswordRefused(problem.sentence) from None
        if problem.parameter.startswith("email_address"):
            raise AddressRefused(problem.sentence) from None


def _require_same(answered: object, asked: object) -> None:
    if answered != asked:
        raise lost(UNUSABLE_ANSWER, repeatable=True)
