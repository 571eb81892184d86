"""The addresses of Clerk's own pages, and of the handshake."""

import base64
import hashlib
from urllib.parse import urlencode

from visiona.adapters.clerk.config import API_VERSION, ClerkConfig


class ClerkPages:
    """`return_to` is an absolute address of Visiona's own; the caller sees to that."""

    def __init__(self, config: ClerkConfig) -> None:
        self._accounts = config.accounts
        self._frontend = config.frontend
        self._development = config.development
        digest = hashlib.sha1(config.publishable_key.encode(), usedforsecurity=False).digest()
        suffix = base64.urlsafe_b64encode(digest).decode()[:8]
        # By the suffix applications on one domain tell their cookies apart.
        self.session_cookies = (f"__session_{suffix}", "__session")

    def sign_in(self, return_to: str) -> str:
        return self._portal("sign-in", return_to)

    def sign_up(self, return_to: str) -> str:
        return self._portal("sign-up", return_to)

    def account(self, return_to: str) -> str:
        return self._portal("user", return_to)

    def handshake(self, return_to: str, reason: str, browser_token: str | None) -> str:
        """A development instance knows its browser by a token alone, since its cookies are of another
        site; a production instance shares ours, and is never given one.
        """
        query = {
            "redirect_url": return_to,
            "__clerk_api_version": API_VERSION,
            # No script of Clerk's runs on our pages, which could want the other names.
            "suffixed_cookies": "false",
            "__clerk_hs_reason": reason,
            "format": "nonce",
        }
        if self._development and browser_token:
            query["__clerk_db_jwt"] = browser_token
        return f"{self._frontend}/v1/client/handshake?{urlencode(query)}"

    def _portal(self, page: str, return_to: str) -> str:
        return f"{self._accounts}/{page}?{urlencode({'redirect_url': return_to})}"
