"""Clients (a browser, an app), the sessions on them, and the tokens of sessions."""

import secrets
from collections.abc import Callable
from typing import Final, Literal

from visiona.sandbox.clerk.clock import Clock, real_seconds
from visiona.sandbox.clerk.errors import not_found
from visiona.sandbox.clerk.ids import new_id
from visiona.sandbox.clerk.keys import SESSION, Keys
from visiona.sandbox.clerk.people import People
from visiona.sandbox.clerk.store import Obj, Store
from visiona.sandbox.clerk.wire import shown

TOKEN_SECONDS: Final = 60
SESSION_MS: Final = 7 * 24 * 3600 * 1000
ABANDONED_MS: Final = 30 * 24 * 3600 * 1000

End = Literal["ended", "removed", "revoked", "replaced"]


class Sessions:
    def __init__(
        self, store: Store, clock: Clock, keys: Keys, people: People, emit: Callable[[str, Obj], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys
        self._people = people
        self._emit = emit

    # Clients

    def new_client(self) -> Obj:
        now = self._clock.now()
        client: Obj = {
            "id": new_id("client"),
            "sign_in_id": None,
            "sign_up_id": None,
            "last_active_session_id": None,
            "last_authentication_strategy": None,
            "created_at": now,
            "updated_at": now,
            "_rotating_token": secrets.token_hex(16),
        }
        self._store.put("client", client)
        return client

    def client(self, client_id: str) -> Obj:
        """Raises `ClerkError` 404."""
        found = self._store.find("client", client_id)
        if found is None:
            raise not_found("Client", client_id)
        return found

    def client_token(self, client: Obj) -> str:
        """What a browser's `__client` cookie holds, or an app keeps. It changes when somebody signs in."""
        return self._keys.sign({"id": client["id"], "rotating_token": client["_rotating_token"]})

    def read_client_token(self, token: str) -> Obj | None:
        claims = self._keys.read(token) or {}
        client = self._store.find("client", str(claims.get("id", "")))
        if client is None or client["_rotating_token"] != claims.get("rotating_token"):
            return None
        return client

    def keep_client(self, client: Obj) -> None:
        client["updated_at"] = self._clock.now()
        self._store.put("client", client)

    def of_client(self, client: Obj) -> list[Obj]:
        """Every session of a client that has not been removed, oldest first."""
        found = (self._current(one) for one in self._store.where("session", "client_id", client["id"]))
        return [one for one in found if one["status"] not in {"removed", "replaced"}]

    def active(self, client: Obj | None) -> Obj | None:
        """The session that somebody is signed in with on a client."""
        if client is None:
            return None
        return next((one for one in self.of_client(client)[::-1] if is_alive(one)), None)

    def shown_client(self, client: Obj) -> Obj:
        """As the Backend API shows it."""
        sessions = [self.shown(one) for one in self.of_client(client)]
        ids = [one["id"] for one in sessions]
        return {**shown(client), "object": "client", "session_ids": ids, "sessions": sessions}

    # Dev browsers: how a development instance knows a browser across sites

    def new_dev_browser(self) -> Obj:
        dev_browser: Obj = {"id": new_id("dvb"), "client_id": None}
        self._store.put("dev_browser", dev_browser)
        return dev_browser

    def dev_browser(self, name: str | None) -> Obj | None:
        return self._store.find("dev_browser", name) if name else None

    def dev_browser_of(self, client: Obj) -> Obj:
        """The browser that a client belongs to, made where it has none yet."""
        found = self._store.where("dev_browser", "client_id", client["id"])
        return found[0] if found else self.attach(self.new_dev_browser(), client)

    def attach(self, dev_browser: Obj, client: Obj) -> Obj:
        dev_browser["client_id"] = client["id"]
        self._store.put("dev_browser", dev_browser)
        return dev_browser

    # Sessions

    def get(self, session_id: str) -> Obj:
        """Raises `ClerkError` 404."""
        found = self._store.find("session", session_id)
        if found is None:
            raise not_found("Session", session_id)
        return self._current(found)

    def of_user(self, user_id: str) -> list[Obj]:
        """Oldest first."""
        return [self._current(one) for one in self._store.where("session", "user_id", user_id)]

    def open(
        self,
        user: Obj,
        client: Obj,
        *,
        first_factor: bool,
        second_factor: bool,
        strategy: str | None = None,
        activity: Obj | None = None,
    ) -> Obj:
        """Sign a user in on a client; whoever was signed in there before no longer is."""
        now = self._clock.now()
        for old in self.of_client(client):
            if is_alive(old):
                self.end(old, "replaced")
        session: Obj = {
            "object": "session",
            "id": new_id("sess"),
            "user_id": user["id"],
            "client_id": client["id"],
            "actor": None,
            "status": "active",
            "last_active_organization_id": None,
            "last_active_at": now,
            "expire_at": now + SESSION_MS,
            "abandon_at": now + ABANDONED_MS,
            "created_at": now,
            "updated_at": now,
            "_first_factor_at": now if first_factor else None,
            "_second_factor_at": now if second_factor else None,
        }
        if activity is not None:
            session["latest_activity"] = {
                "object": "session_activity",
                "id": new_id("sess_activity"),
                **activity,
            }
        self._store.put("session", session)
        client |= {
            "last_active_session_id": session["id"],
            "sign_in_id": None,
            "sign_up_id": None,
            "last_authentication_strategy": strategy,
            "_rotating_token": secrets.token_hex(16),
        }
        self.keep_client(client)
        self._people.note_sign_in(user)
        self._tell("session.created", session)
        return session

    def end(self, session: Obj, status: End) -> Obj:
        """What is over already stays as it is."""
        if not is_alive(session):
            return session
        session |= {"status": status, "updated_at": self._clock.now()}
        self._store.put("session", session)
        client = self._store.find("client", session["client_id"])
        if client is not None and client["last_active_session_id"] == session["id"]:
            client["last_active_session_id"] = None
            self.keep_client(client)
        if status != "replaced":  # there is no event of this name
            self._tell(f"session.{status}", session)
        return session

    def end_all(self, user_id: str, status: End, *, but: str | None = None) -> None:
        for session in self.of_user(user_id):
            if session["id"] != but:
                self.end(session, status)

    def shown(self, session: Obj) -> Obj:
        return shown(session)

    def token(self, session: Obj, *, azp: str | None, seconds: int = TOKEN_SECONDS) -> str:
        return self._keys.sign(self.claims(session, azp=azp, seconds=seconds), SESSION)

    def claims(self, session: Obj, *, azp: str | None, seconds: int = TOKEN_SECONDS) -> Obj:
        """A session token's claims, version 2. Its times are real ones."""
        now = real_seconds()
        return {
            **({} if azp is None else {"azp": azp}),
            "exp": now + seconds,
            "fva": [self._age(session["_first_factor_at"]), self._age(session["_second_factor_at"])],
            "iat": now,
            "iss": self._keys.issuer,
            "jti": secrets.token_hex(10),
            "nbf": now - 10,
            "sid": session["id"],
            "sts": "pending" if session["status"] == "pending" else "active",
            "sub": session["user_id"],
            "v": 2,
        }

    def _age(self, proved_at: int | None) -> int:
        """Whole minutes since a factor was checked; -1 for never."""
        return -1 if proved_at is None else (self._clock.now() - proved_at) // 60000

    def _current(self, session: Obj) -> Obj:
        """A session may have run out since it was written."""
        now = self._clock.now()
        if is_alive(session) and now >= session["expire_at"]:
            session |= {"status": "expired", "updated_at": session["expire_at"]}
        return session

    def _tell(self, type_: str, session: Obj) -> None:
        user = self._people.shown(self._people.get(session["user_id"]))
        self._emit(type_, {**shown(session), "user": user})


def is_alive(session: Obj) -> bool:
    return session["status"] in {"active", "pending"}
