"""The database roles, and how one owner URL is enough to reach all of them.

None is a superuser, none bypasses row-level security, and none that runs requests or jobs owns a
table. The passwords of the two login roles come from their own URLs, or are derived from the secret
key, so that a self-hoster configures one URL only.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from visiona.db.identity import IdentityKey

OWNER_ROLE = "visiona_owner"
APP_ROLE = "visiona_app"
WORKER_ROLE = "visiona_worker"
AUTH_ROLE = "visiona_auth"
# Whom PostgREST lets in with a token of the identity service. Supabase brings this role; it is nobody's
# to log in as.
MEMBER_ROLE = "authenticated"


@dataclass(frozen=True, slots=True)
class RoleSecrets:
    """The passwords of the two roles that log in, and the key by which they prove who they ask for."""

    app: str = field(repr=False)
    worker: str = field(repr=False)
    identity: IdentityKey


def derived_password(secret_key: bytes, role: str) -> str:
    digest = hmac.new(secret_key, f"database-role:{role}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def url_for_role(owner_url: str, role: str, password: str) -> str:
    """The same server and database as `owner_url`, as another role.

    A pooler's tenant suffix (`postgres.<project>`) is kept.
    """
    parts = urlsplit(owner_url)
    owner = unquote(parts.username or "") or _parameter(parts, "user")
    tenant = owner.partition(".")[2]
    user = f"{role}.{tenant}" if tenant else role
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='.')}:{quote(password, safe='')}@{host}"
    # Kept as it was written: libpq reads a plus sign as itself, which form decoding would not.
    others = [item for item in parts.query.split("&") if _name(item) not in {"user", "password"}]
    return urlunsplit((parts.scheme, netloc, parts.path, "&".join(others), parts.fragment))


def password_in(url: str) -> str:
    """The password that a URL carries, or an empty string."""
    parts = urlsplit(url)
    return unquote(parts.password or "") or _parameter(parts, "password")


def _parameter(parts: SplitResult, name: str) -> str:
    """A value from the URL's query, where libpq takes a user and a password too."""
    values = [item.partition("=")[2] for item in parts.query.split("&") if _name(item) == name]
    return unquote(values[-1]) if values else ""


def _name(item: str) -> str:
    return unquote(item.partition("=")[0])
