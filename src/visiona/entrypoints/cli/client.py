"""A person's conversation with one Visiona server: who they are, and what its refusals mean."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from visiona.core.clock import Clock, SystemClock
from visiona.core.ids import opaque_id
from visiona.entrypoints.cli.answers import CodeWanted, FreshToken, Page, Problem, SignedIn, User
from visiona.entrypoints.cli.credentials import CredentialStore, Session
from visiona.entrypoints.cli.errors import NotSignedIn, Refused, Unreachable
from visiona.entrypoints.cli.servers import server_origin
from visiona.entrypoints.cli.transport import Answer, Call, Repeat, Transport, UploadFile

Item = TypeVar("Item")

SESSION_COOKIES = ("__Host-visiona_session", "visiona_session")
# A token this close to its end is renewed beforehand: an upload should not be sent to be refused.
RENEWAL_MARGIN = timedelta(seconds=30)
_THEN = "and give it to these commands in VISIONA_TOKEN."
GATEWAY_STATUSES = frozenset({502, 503, 504})


class Client:
    """Signs every request, renews the token when it ends, and raises what is not a success."""

    def __init__(
        self,
        server: str,
        *,
        store: CredentialStore,
        transport: Transport,
        fixed_token: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """With a `fixed_token` (an API key, from the environment) no stored session is used."""
        self.server = server
        self._store = store
        self._transport = transport
        self._fixed_token = fixed_token
        self._clock = clock or SystemClock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def get(self, path: str, params: Mapping[str, str | int | None] | None = None) -> Answer:
        """Parameters that are None are left out."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return self._signed(Call("GET", path, params=given, repeat=Repeat.ALWAYS))

    def every(self, path: str, shape: type[Page[Item]]) -> list[Item]:
        """The items of all pages."""
        page = self.get(path).read(shape)
        items = list(page.items)
        while page.next_cursor:
            page = self.get(path, {"cursor": page.next_cursor}).read(shape)
            items += page.items
        return items

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """For what does no more when done twice: cancelling, deleting a list of ids."""
        return self._signed(Call("POST", path, body=body, repeat=Repeat.ALWAYS))

    def spend(self, path: str, body: Mapping[str, Any]) -> Answer:
        """A POST that uses quota. The key lets it be sent again, when its answer is lost, and act once."""
        key = {"Idempotency-Key": opaque_id()}
        return self._signed(Call("POST", path, body=body, headers=key, repeat=Repeat.ALWAYS))

    def make(self, path: str, body: Mapping[str, Any]) -> Answer:
        """A POST that would make another thing when done twice."""
        return self._signed(Call("POST", path, body=body, repeat=Repeat.IF_REFUSED))

    def delete(self, path: str) -> Answer:
        return self._signed(Call("DELETE", path, repeat=Repeat.ALWAYS))

    def upload(self, path: str, files: Sequence[UploadFile]) -> Answer:
        return self._signed(Call("POST", path, files=files, repeat=Repeat.IF_REFUSED))

    def download(self, url: str, folder: Path, stem: str) -> Path:
        return self._transport.download(url, folder, stem)

    def sign_in(self, path: str, email: str, password: str) -> User | CodeWanted:
        """By log-in or sign-up; the session is kept for the commands that follow. Where the account asks
        for a second step, `sign_in_with_code` is next.
        """
        answer = self._ask_in(path, {"email": email, "password": password})
        if answer.status == HTTPStatus.ACCEPTED:
            return answer.read(CodeWanted)
        return self._keep(answer)

    def sign_in_with_code(self, ticket: str, code: str) -> User:
        """The second step, with a code of the authenticator app or a recovery code."""
        return self._keep(self._ask_in("/api/auth/login/code", {"ticket": ticket, "code": code}))

    def _ask_in(self, path: str, body: Mapping[str, Any]) -> Answer:
        answer = self._transport.send(Call("POST", path, body=body))
        try:
            return _accepted(answer)
        except Refused as refusal:
            if refusal.problem.code == "hosted_sign_in_needed":
                page = f"{self.server}/account/keys"
                refusal.notes += (f"Log in with a browser, make an API key at {page}", _THEN)
            raise

    def _keep(self, answer: Answer) -> User:
        signed_in = answer.read(SignedIn)
        session = Session(
            email=signed_in.user.email,
            access_token=signed_in.access_token,
            expires_at=self._clock.now() + timedelta(seconds=signed_in.expires_in),
        )
        self._store.update(self.server, lambda _: _with_cookie(session, answer))
        return signed_in.user

    def sign_out(self) -> Session | None:
        """Forget the session here first, whatever the server says then; None if there was none."""
        session = self._store.load(self.server)
        if session is None:
            return None
        self._store.update(self.server, lambda _: None)
        answer = self._transport.send(Call("POST", "/api/auth/logout", headers=self._as_browser(session)))
        if answer.status != 401:
            _accepted(answer)
        return session

    def _signed(self, call: Call) -> Answer:
        token = self._token()
        answer = self._transport.send(_with_token(call, token))
        if answer.status == 401 and self._fixed_token is None:
            answer = self._transport.send(_with_token(call, self._renew(token)))
        if answer.status == 401:
            raise self._not_signed_in()
        return _accepted(answer)

    def _token(self) -> str:
        if self._fixed_token is not None:
            return self._fixed_token
        session = self._store.load(self.server)
        if session is None:
            raise self._not_signed_in()
        if session.cookie_value is None or self._clock.now() < session.expires_at - RENEWAL_MARGIN:
            return session.access_token
        return self._renew(session.access_token)

    def _renew(self, spent_token: str) -> str:
        """A token other than the spent one: another command's, if it renewed meanwhile, or a fresh one."""

        def change(session: Session | None) -> Session | None:
            if session is None or session.access_token != spent_token:
                return session
            return self._refreshed(session)

        session = self._store.update(self.server, change)
        if session is None:
            raise self._not_signed_in()
        return session.access_token

    def _refreshed(self, session: Session) -> Session | None:
        """None where the session is over."""
        if session.cookie_value is None:
            return None
        answer = self._transport.send(
            Call("POST", "/api/auth/refresh", headers=self._as_browser(session), repeat=Repeat.IF_REFUSED)
        )
        if answer.status == 401:
            return None
        fresh = _accepted(answer).read(FreshToken)
        expires_at = self._clock.now() + timedelta(seconds=fresh.expires_in)
        renewed = msgspec.structs.replace(session, access_token=fresh.access_token, expires_at=expires_at)
        return _with_cookie(renewed, answer)

    def _as_browser(self, session: Session) -> dict[str, str]:
        """The cookie is only taken together with the origin of the server's own pages."""
        headers = {"Origin": server_origin(self.server)}
        if session.cookie_name and session.cookie_value:
            headers["Cookie"] = f"{session.cookie_name}={session.cookie_value}"
        return headers

    def _not_signed_in(self) -> NotSignedIn:
        if self._fixed_token is not None:
            return NotSignedIn(f"{self.server} does not accept the token in VISIONA_TOKEN.")
        return NotSignedIn(f"You are not signed in at {self.server}.", "Sign in with: visiona login")


def _with_token(call: Call, token: str) -> Call:
    return replace(call, headers={**call.headers, "Authorization": f"Bearer {token}"})


def _with_cookie(session: Session, answer: Answer) -> Session:
    for name in SESSION_COOKIES:
        if value := answer.cookies.get(name):
            return msgspec.structs.replace(session, cookie_name=name, cookie_value=value)
    return session


def _accepted(answer: Answer) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    if 300 <= answer.status < 400:
        elsewhere = answer.headers.get("location", "nowhere")
        raise Unreachable(f"The server sends its clients to {elsewhere}.", "Name that one with --server.")
    spoken = answer.headers.get("content-type", "").startswith("application/problem+json")
    if not spoken and answer.status in GATEWAY_STATUSES:
        raise Unreachable(f"A gateway answered {answer.status} in the server's place.")
    raise Refused(answer.status, _problem(answer), *_when_to_try_again(answer))


def _problem(answer: Answer) -> Problem:
    """Whatever of a problem document is there; a body that is none says nothing."""
    try:
        return msgspec.json.decode(answer.body, type=Problem)
    except msgspec.DecodeError:
        return Problem()


def _when_to_try_again(answer: Answer) -> Sequence[str]:
    seconds = answer.retry_after()
    return [] if seconds is None else [f"Try again in {seconds:.0f} seconds."]
