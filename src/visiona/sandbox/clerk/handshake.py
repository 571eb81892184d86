"""The handshake: a browser's round trip to the Frontend API, which tells a site who is signed in.

A development instance knows the browser by the token in the address alone. Cookies of its own would not
be there: in real life the two are different sites.
"""

import base64
import hashlib
import secrets
from typing import Final

from visiona.sandbox.clerk.clock import Clock
from visiona.sandbox.clerk.config import ClerkSandboxConfig
from visiona.sandbox.clerk.errors import not_found, refused
from visiona.sandbox.clerk.keys import Keys
from visiona.sandbox.clerk.redirects import DEV_BROWSER, is_allowed, origin_of, with_parameters
from visiona.sandbox.clerk.sessions import Sessions
from visiona.sandbox.clerk.store import Store

NONCE_MS: Final = 60 * 1000
_YEARS: Final = "Max-Age=315360000"
_GONE: Final = "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"


class Handshakes:
    def __init__(
        self, config: ClerkSandboxConfig, store: Store, clock: Clock, keys: Keys, sessions: Sessions
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._keys = keys
        self._sessions = sessions

    def answer(self, redirect_url: str, *, browser: str | None, nonce: bool, suffixed: bool) -> str:
        """The address to send the browser back to. Raises `ClerkError` 422 for one that is not allowed."""
        if not is_allowed(self._config, redirect_url):
            text = f"The redirect url passed in the request is invalid: {redirect_url}"
            raise refused("invalid_redirect_url", "is invalid", text, param="redirect_url")
        directives = self._directives(redirect_url, browser, suffixed=suffixed)
        if not nonce:
            return with_parameters(redirect_url, __clerk_handshake=self._keys.sign({"handshake": directives}))
        name = secrets.token_urlsafe(24)
        until = self._clock.now() + NONCE_MS
        self._store.put("handshake", {"id": name, "directives": directives, "until": until})
        return with_parameters(redirect_url, __clerk_handshake_nonce=name)

    def directives_of(self, nonce: str) -> list[str]:
        """The cookies behind a nonce, once. Raises `ClerkError` 404."""
        kept = self._store.find("handshake", nonce)
        if kept is None or kept["until"] <= self._clock.now():
            raise not_found("Handshake payload")
        self._store.delete("handshake", nonce)
        return kept["directives"]

    def forget_old(self) -> None:
        """Nonces that nobody came for."""
        for kept in self._store.all("handshake"):
            if kept["until"] <= self._clock.now():
                self._store.delete("handshake", kept["id"])

    def _directives(self, redirect_url: str, browser: str | None, *, suffixed: bool) -> list[str]:
        dev_browser = self._sessions.dev_browser(browser) or self._sessions.new_dev_browser()
        client = self._store.find("client", dev_browser["client_id"] or "")
        session = self._sessions.active(client)
        values: dict[str, str | None] = {"__client_uat": "0", "__session": None}
        if session is not None and client is not None:
            token = self._sessions.token(session, azp=origin_of(redirect_url))
            values = {"__client_uat": str(client["updated_at"] // 1000), "__session": token}
        suffix = cookie_suffix(self._config.publishable_key)
        names = {name: [name, f"{name}_{suffix}"] if suffixed else [name] for name in values}
        found = [_directive(name, value) for base, value in values.items() for name in names[base]]
        return [*found, _directive(DEV_BROWSER, dev_browser["id"])]


def cookie_suffix(publishable_key: str) -> str:
    """The eight characters that set an instance's cookies apart from another's on the same host."""
    digest = hashlib.sha1(publishable_key.encode(), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode()[:8]


def _directive(name: str, value: str | None) -> str:
    """A `Set-Cookie` line; None takes the cookie away."""
    if value is None:
        return f"{name}=; Path=/; {_GONE}; SameSite=Lax"
    return f"{name}={value}; Path=/; {_YEARS}; SameSite=Lax"
