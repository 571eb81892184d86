"""A small Clerk instance for tests of the adapter: its keys, its tokens, and what it answers.

It runs on the scripted server, keeps people and sessions in memory, and can be told to spoil the answers
to one path. The sandbox is the complete one.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from visiona.adapters.clerk import ClerkConfig

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET_KEY = "sk_test_sekrit"
ORIGIN = "https://visiona.example"
PASSWORD = "correct horse battery"
KID = "ins_2abcDEF"

Reply = tuple[int, Any]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8))


def segment(value: Any) -> str:
    return b64(json.dumps(value).encode())


def jwk_of(key: rsa.RSAPrivateKey, kid: str = KID, **changes: Any) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    jwk = {
        "use": "sig",
        "kty": "RSA",
        "kid": kid,
        "alg": "RS256",
        "n": number(public.n),
        "e": number(public.e),
    }
    return {name: value for name, value in (jwk | changes).items() if value is not ...}


def pem_of(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(key: rsa.RSAPrivateKey, header: Any, payload: bytes | Any) -> str:
    """RS256 over whatever is given, with none of a library's objections."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    signed = f"{b64(head)}.{b64(text)}".encode()
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signed, key)
    return f"{signed.decode()}.{b64(signature)}"


def refusal(status: int, code: str, parameter: str | None = None, sentence: str = "No.") -> Reply:
    error: dict[str, Any] = {"message": "no", "long_message": sentence, "code": code}
    if parameter:
        error["meta"] = {"param_name": parameter}
    return status, {"errors": [error], "clerk_trace_id": "trace1"}


NOT_FOUND = refusal(404, "resource_not_found")


def _covers(key: str, path: str) -> bool:
    """A key that ends with a slash means all that is below."""
    return path.startswith(key) if key.endswith("/") else path == key


class ClerkInstance:
    """`spoiled` answers in place of a path's own; `lost` lets a path do its work, and then drops the line."""

    def __init__(self, server: Any, key: rsa.RSAPrivateKey) -> None:
        self.server = server
        self.key = key
        self.jwks: Any = {"keys": [jwk_of(key)]}
        self.users: dict[str, dict[str, Any]] = {}
        self.passwords: dict[str, str] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.tickets: dict[str, str] = {}
        self.nonces: dict[str, list[str]] = {}
        self.sign_in_status = "complete"
        self.spoiled: dict[str, Any] = {}
        self.lost: set[str] = set()
        server.answers = [self._answer]

    @property
    def url(self) -> str:
        return str(self.server.url)

    def config(self, **changes: Any) -> ClerkConfig:
        host = self.url.removeprefix("http://")
        values: dict[str, Any] = {
            "secret_key": SECRET_KEY,
            "publishable_key": "pk_test_" + base64.b64encode(f"{host}$".encode()).decode(),
            "base_url": f"{self.url}/v1",
            "authorized_parties": (ORIGIN,),
            "call_deadline_s": 5.0,
            "retry_budget_s": 0.1,
            "wrong_password_floor_s": 0.0,
        }
        return ClerkConfig(**(values | changes))

    def header(self, **changes: Any) -> dict[str, Any]:
        header = {"alg": "RS256", "typ": "JWT", "kid": KID, "cat": "cl_B7d4PD111AAA"} | changes
        return {name: value for name, value in header.items() if value is not ...}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Version 2, as the contract lists them. `...` leaves one out."""
        issued = int(NOW.timestamp())
        claims = {
            "azp": ORIGIN,
            "exp": issued + 60,
            "fva": [0, -1],
            "iat": issued,
            "iss": self.url,
            "jti": "7a5cfb2d9f1f0b0c6b1e",
            "nbf": issued - 10,
            "sid": "sess_1",
            "sts": "active",
            "sub": "user_1",
            "v": 2,
        } | changes
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
        return sign(self.key, self.header(**(header or {})), self.claims(**(claims or {})))

    def handshake(self, lines: Any, header: dict[str, Any] | None = None, **claims: Any) -> str:
        return sign(self.key, self.header(**(header or {})), {"handshake": lines} | claims)

    def add_user(self, email: str, password: str | None = PASSWORD, **changes: Any) -> dict[str, Any]:
        number = len(self.users) + 1
        status = changes.pop("verification", "verified")
        address = {
            "id": f"idn_{number}",
            "object": "email_address",
            "email_address": email,
            "reserved": status is None,
            "verification": {"object": "verification_admin", "status": status} if status else None,
            "linked_to": [],
            "created_at": 1_700_000_000_000,
            "updated_at": 1_700_000_000_000,
        }
        user = {
            "id": f"user_{number}",
            "object": "user",
            "external_id": None,
            "primary_email_address_id": f"idn_{number}",
            "email_addresses": [address],
            "password_enabled": password is not None,
            "two_factor_enabled": False,
            "banned": False,
            "locked": False,
            "last_sign_in_at": None,
            "created_at": 1_700_000_000_000,
            "updated_at": 1_700_000_000_000 + number,
        } | changes
        self.users[user["id"]] = user
        if password is not None:
            self.passwords[user["id"]] = password
        return user

    def add_session(self, subject: str, status: str = "active") -> dict[str, Any]:
        session = {
            "object": "session",
            "id": f"sess_{len(self.sessions) + 1}",
            "user_id": subject,
            "client_id": "client_1",
            "status": status,
            "last_active_at": 1_700_000_000_000,
            "expire_at": 1_800_000_000_000,
            "abandon_at": 1_900_000_000_000,
            "created_at": 1_700_000_000_000,
            "updated_at": 1_700_000_000_000,
        }
        self.sessions[session["id"]] = session
        return session

    def asked(self, path: str) -> int:
        return sum(urlsplit(one.target).path == path for one in self.server.exchanges)

    async def _answer(self, exchange: Any, writer: asyncio.StreamWriter) -> None:
        path = urlsplit(exchange.target).path
        spoiled = next((value for key, value in self.spoiled.items() if _covers(key, path)), None)
        if spoiled is not None:
            await spoiled(exchange, writer)
            return
        status, body = self._reply(exchange, path)
        if any(_covers(key, path) for key in self.lost):
            writer.transport.abort()
            return
        await self.server.json(status, body)(exchange, writer)

    def _reply(self, exchange: Any, path: str) -> Reply:
        if path == "/.well-known/jwks.json":
            return 200, self.jwks
        if path == "/v1/client/sign_ins":
            assert "authorization" not in exchange.headers
            return self._sign_in(parse_qs(exchange.body.decode()))
        if exchange.headers.get("authorization") != f"Bearer {SECRET_KEY}":
            return refusal(401, "clerk_key_invalid")
        assert exchange.headers["clerk-api-version"] == "2025-11-10"
        routes: dict[tuple[str, str, int], Callable[[Any, list[str]], Reply]] = {
            ("POST", "users", 1): lambda ask, _: self._create(ask.json()),
            ("GET", "users", 1): lambda ask, _: (200, self._search(parse_qs(urlsplit(ask.target).query))),
            ("GET", "users", 2): lambda _, parts: self._one(self.users, parts[1]),
            ("DELETE", "users", 2): lambda _, parts: self._delete(parts[1]),
            ("POST", "users", 3): lambda ask, parts: self._verify(parts[1], ask.json()["password"]),
            ("POST", "sign_in_tokens", 1): lambda ask, _: self._ticket(ask.json()),
            ("GET", "sessions", 2): lambda _, parts: self._one(self.sessions, parts[1]),
            ("POST", "sessions", 3): lambda _, parts: self._revoke(parts[1]),
            ("GET", "clients", 2): lambda ask, _: self._payload(parse_qs(urlsplit(ask.target).query)),
        }
        parts = path.removeprefix("/v1/").split("/")
        return routes[exchange.method, parts[0], len(parts)](exchange, parts)

    def _create(self, order: dict[str, Any]) -> Reply:
        assert order["email_address_identification_status"] == ["reserved"]
        assert set(order) <= {
            "email_address",
            "email_address_identification_status",
            "password",
            "external_id",
        }
        (email,) = order["email_address"]
        if self._search({"email_address": [email]}):
            return refusal(422, "form_identifier_exists", "email_address", "That email address is taken.")
        external_id = order.get("external_id")
        if external_id and self._search({"external_id": [external_id]}):
            return refusal(422, "form_identifier_exists", "external_id")
        return 200, self.add_user(email, order["password"], external_id=external_id, verification=None)

    def _search(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        emails, ids = query.get("email_address", []), query.get("external_id", [])
        return [
            user
            for user in self.users.values()
            if user["external_id"] in ids
            or any(a["email_address"] in emails for a in user["email_addresses"])
        ]

    def _one(self, kept: dict[str, dict[str, Any]], key: str) -> Reply:
        return (200, kept[key]) if key in kept else NOT_FOUND

    def _delete(self, key: str) -> Reply:
        if self.users.pop(key, None) is None:
            return NOT_FOUND
        return 200, {"object": "user", "id": key, "deleted": True}

    def _verify(self, key: str, password: str) -> Reply:
        if key not in self.users:
            return NOT_FOUND
        if key not in self.passwords:
            return refusal(400, "no_password_set")
        if self.passwords[key] != password:
            return refusal(422, "incorrect_password")
        return 200, {"verified": True}

    def _ticket(self, order: dict[str, Any]) -> Reply:
        assert order["expires_in_seconds"] == 60
        if order["user_id"] not in self.users:
            return NOT_FOUND
        ticket = f"ticket-{len(self.tickets)}"
        self.tickets[ticket] = order["user_id"]
        return 200, {"object": "sign_in_token", "id": "sit_1", "token": ticket, "status": "pending"}

    def _sign_in(self, form: dict[str, list[str]]) -> Reply:
        assert form["strategy"] == ["ticket"]
        subject = self.tickets.pop(form["ticket"][0], None)
        if subject is None:
            return refusal(422, "sign_in_token_already_used_code")
        if self.users[subject]["banned"]:
            return refusal(403, "user_banned")
        session_id = self.add_session(subject)["id"] if self.sign_in_status == "complete" else None
        return 200, {
            "response": {"status": self.sign_in_status, "created_session_id": session_id},
            "client": {},
        }

    def _revoke(self, key: str) -> Reply:
        if key not in self.sessions:
            return NOT_FOUND
        if self.sessions[key]["status"] != "active":
            return refusal(400, "session_not_active")
        self.sessions[key]["status"] = "revoked"
        return 200, self.sessions[key]

    def _payload(self, query: dict[str, list[str]]) -> Reply:
        lines = self.nonces.pop(query["nonce"][0], None)
        return (200, {"directives": lines}) if lines is not None else NOT_FOUND
