"""Which of Clerk's tokens are genuine, of this instance, meant for us, and valid now.

The rules are our own, so that they hold whatever a library's defaults become: of PyJWT only the
signature is asked for. Time is an argument.
"""

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.utils import base64url_decode

from visiona.adapters.clerk.answers import usable_session_id, usable_subject
from visiona.adapters.clerk.keys import Keys
from visiona.ports.identity import InvalidToken, TokenReport

ALGORITHM = "RS256"
SESSION_CATEGORY = "cl_B7d4PD111AAA"
CLOCK_LEEWAY_S = 5
# A cookie cannot hold more.
TOKEN_MAX_LENGTH = 4096
# Holds a session token beside other cookies, encoded once more.
HANDSHAKE_MAX_LENGTH = 16_384
# Clerk's own upper limit for the lifetime of session tokens.
LIFETIME_MAX_S = 24 * 3600
VERIFIED_TOKENS_KEPT = 10_000

_MAX_COOKIES = 32
_MAX_INSTANT = 253402300799  # the end of the year 9999
_COMPACT = re.compile(r"(?P<header>[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# Each of them says how, or with which key, the token wants to be read; we know both already.
_STEERING = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc", "cty"})
_COOKIE = re.compile(
    r"(?P<name>__(session|client_uat|refresh|clerk_db_jwt)(_[A-Za-z0-9_-]{1,16})?)=[!-:<-~]*(;[ -~]*)?"
)


@dataclass(frozen=True, slots=True)
class _Verified:
    report: TokenReport
    kid: str
    key: RSAPublicKey
    end: int


class SessionTokens:
    """Verifies session tokens, and the handshakes that bring them, under one set of keys."""

    def __init__(self, keys: Keys, *, issuer: str, authorized_parties: Sequence[str]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._parties = frozenset(authorized_parties)
        # By the hash of the token.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, token: str, now: datetime) -> TokenReport:
        """Raises `InvalidToken` or `ProviderUnavailable`.

        A signature costs more to check than all else in a request, so that of a token in use is
        checked once. Its end is compared every time, and whether its key still counts.
        """
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        moment = now.timestamp()
        known = self._verified.get(digest)
        if known is not None and moment < known.end and self._keys.known(known.kid) is known.key:
            return known.report
        verified = await self._verify(token, moment)
        self._verified[digest] = verified
        if len(self._verified) > VERIFIED_TOKENS_KEPT:
            self._verified.popitem(last=False)
        return verified.report

    async def read_handshake(self, token: str, now: datetime) -> list[str]:
        """The `Set-Cookie` lines in a handshake token. Raises `InvalidToken` or `ProviderUnavailable`."""
        claims, _, _ = await self._signed(token, HANDSHAKE_MAX_LENGTH)
        # What says who somebody is, is not a handshake, whatever else it carries.
        if "sub" in claims or "sid" in claims:
            raise InvalidToken("not_a_handshake")
        if "iss" in claims and claims["iss"] != self._issuer:
            raise InvalidToken("wrong_issuer")
        moment = now.timestamp()
        for name in ("iat", "nbf"):
            if name in claims and _instant(claims, name) > moment + CLOCK_LEEWAY_S:
                raise InvalidToken("not_yet_valid")
        if "exp" in claims and _instant(claims, "exp") <= moment - CLOCK_LEEWAY_S:
            raise InvalidToken("expired")
        return own_cookies(claims.get("handshake"))

    async def _verify(self, token: str, moment: float) -> _Verified:
        claims, kid, key = await self._signed(token, TOKEN_MAX_LENGTH)
        self._require_ours(claims)
        subject, session_id = _text(claims, "sub"), _text(claims, "sid")
        if not usable_subject(subject):
            raise InvalidToken("malformed_sub")
        if not usable_session_id(session_id):
            raise InvalidToken("malformed_sid")
        end = _require_valid_at(claims, moment)
        report = TokenReport(subject, session_id, datetime.fromtimestamp(end, UTC), _confirmed_at(claims))
        return _Verified(report, kid, key, end)

    async def _signed(self, token: str, max_length: int) -> tuple[dict[str, Any], str, RSAPublicKey]:
        """The claims of a token that was signed with one of the keys; nothing is known of them yet."""
        if len(token) > max_length:
            raise InvalidToken("too_long")
        shape = _COMPACT.fullmatch(token)
        if shape is None:
            raise InvalidToken("malformed")
        kid = _key_named_by(_decoded(_unpacked(shape["header"])))
        key = await self._keys.find(kid)
        if key is None:
            raise InvalidToken("unknown_key")
        try:
            payload = jwt.PyJWS().decode_complete(token, key, algorithms=[ALGORITHM])["payload"]
        except (jwt.PyJWTError, ValueError):
            raise InvalidToken("bad_signature") from None
        return _decoded(payload), kid, key

    def _require_ours(self, claims: dict[str, Any]) -> None:
        if claims.get("iss") != self._issuer:
            raise InvalidToken("wrong_issuer")
        if "azp" in claims and not (isinstance(claims["azp"], str) and claims["azp"] in self._parties):
            raise InvalidToken("wrong_party")
        if "aud" in claims:  # session tokens have none: it was made for somebody else
            raise InvalidToken("wrong_audience")
        if claims.get("sts", "active") != "active":
            raise InvalidToken("pending")
        if "act" in claims:  # whoever impersonates somebody does not get to see their face
            raise InvalidToken("impersonated")


def own_cookies(lines: Any) -> list[str]:
    """Those of the `Set-Cookie` lines that set cookies of Clerk's. Raises `InvalidToken` where they are
    not lines.
    """
    if not isinstance(lines, list) or len(cast("list[Any]", lines)) > _MAX_COOKIES:
        raise InvalidToken("malformed_handshake")
    given = cast("list[Any]", lines)
    if not all(isinstance(line, str) for line in given):
        raise InvalidToken("malformed_handshake")
    return [line for line in cast("list[str]", given) if _COOKIE.fullmatch(line)]


def _key_named_by(header: dict[str, Any]) -> str:
    if header.get("alg") != ALGORITHM:
        raise InvalidToken("wrong_algorithm")
    if header.get("typ") != "JWT":
        raise InvalidToken("wrong_type")
    if not _STEERING.isdisjoint(header):
        raise InvalidToken("steering_header")
    if header.get("cat", SESSION_CATEGORY) != SESSION_CATEGORY:
        raise InvalidToken("wrong_category")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise InvalidToken("unknown_key")
    return kid


def _require_valid_at(claims: dict[str, Any], moment: float) -> int:
    """Returns the end of the token's life."""
    issued, start, end = (_instant(claims, name) for name in ("iat", "nbf", "exp"))
    if max(issued, start) > moment + CLOCK_LEEWAY_S:
        raise InvalidToken("not_yet_valid")
    if end <= moment - CLOCK_LEEWAY_S:
        raise InvalidToken("expired")
    if end - issued > LIFETIME_MAX_S:
        raise InvalidToken("lives_too_long")
    return end


def _confirmed_at(claims: dict[str, Any]) -> datetime | None:
    """By `fva`: the minutes since the first factor was checked and since the second was; -1 is never."""
    ages = claims.get("fva")
    issued = _instant(claims, "iat")
    if not isinstance(ages, list):
        return None
    known = [age for age in cast("list[Any]", ages) if type(age) is int and 0 <= age <= issued // 60]
    return datetime.fromtimestamp(issued - 60 * min(known), UTC) if known else None


def _unpacked(segment: str) -> bytes:
    try:
        return base64url_decode(segment)
    except ValueError:
        raise InvalidToken("malformed") from None


def _decoded(text: bytes) -> dict[str, Any]:
    """An object of JSON in which no name stands twice, since two readers may take different ones."""
    try:
        document = json.loads(text.decode(), object_pairs_hook=_unambiguous, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(document, dict):
        raise InvalidToken("malformed")
    return cast("dict[str, Any]", document)


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise InvalidToken(f"malformed_{name}")
    return value


def _instant(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 < value <= _MAX_INSTANT:
        raise InvalidToken(f"malformed_{name}")
    return value
